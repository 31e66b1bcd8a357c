/* test_same_bits.c - idea 4 on whole models: a sequence's rows have the same bits with 1, 2 and 3 threads, alone and in a batch, whole, in chunks and token by token
 * with the cache, with weights plain (as the trainer holds them), packed (as the server does) and as their file holds them until they are packed; f32 and bf16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "infer/kv_pages.h"
#include "kernels/gemm.h"
#include "load/load.h"

static const char *const folders[] = { "gpt2", "llama", "llama3", "mistral", "qwen3", "llava", "gpt_neox", "bloom", "mamba", "mamba2", "rwkv", "qwen3_next",
                                       "deepseek_v32", "qwen2", "olmo2", "glm4", "gemma3", "mixtral", "deepseek_v2", "qwen2_5_vl", "got_ocr2", "idefics" };
enum { LONGEST = 100, OTHERS = 2 };

/* In the repository, else among the reference data. */
static const char *folder_of(nc_arena *a, const char *name)
{
    const char *shared = getenv("NUNCHI_SHARED"), *own = nc_arena_printf(a, "tests/golden/models/%s", name);
    return nc_is_dir(own) ? own : nc_arena_printf(a, "%s/golden/models/%s", shared ? shared : "../shared", name);
}

static nc_loaded *load_folder(const char *folder, nc_dtype compute, bool pack, nc_pool *pool)
{
    nc_load_options o = { .weights = { compute, pack, pool, nc_kernels_best() }, .no_front = true };
    nc_error e = { 0 };
    nc_loaded *l = NULL;
    if (nc_load(folder, &o, &l, &e) < 0)
        fail_msg("%s", e.message);
    return l;
}

static nc_loaded *load(const char *name, nc_dtype compute, bool pack, nc_pool *pool)
{
    nc_arena *a = nc_arena_new();
    nc_loaded *l = load_folder(folder_of(a, name), compute, pack, pool);
    nc_arena_free(a);
    return l;
}

/* Hidden rows of `count` sequences as bytes of the compute dtype; cache may be NULL. */
static void hidden(nc_loaded *l, nc_pool *pool, nc_cache *cache, const nc_seq *seq, int count, void *out)
{
    nc_error e = { 0 };
    nc_batch *batch = nc_batch_new();
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = l->options.weights.compute, .cache = cache });
    nc_build *b = nc_program_build(p);
    if (nc_model_prepare(l->model, batch, seq, count, &e) < 0)
        fail_msg("%s", e.message);
    nc_build_capacity(b, "tokens", nc_batch_count(batch, "tokens") + 13);       /* a plan for more than is live */
    nc_value *x = nc_model_decoder(l->model, b, NULL);
    nc_build_keep(b, x, "x");
    if (nc_program_finish(p, NULL, nc_pool_threads(pool), &e) < 0 || nc_program_allocate(p, NULL, &e) < 0 ||
        nc_program_run(p, batch, &(nc_run_options){ .pool = pool, .kernels = nc_kernels_best() }, &e) < 0)
        fail_msg("%s", e.message);
    memcpy(out, x->data, nc_dtype_bytes(x->dtype, nc_batch_count(batch, "tokens") * x->shape.dim[1]));
    nc_program_free(p);
    nc_batch_free(batch);
}

static void chunked(nc_loaded *l, nc_pool *pool, const int32_t *ids, int n, int chunk, char *out, size_t row)
{
    nc_error e = { 0 };
    nc_cache_need need;
    nc_kv *kv = NULL;
    l->model->family->cache(l->model->self, &need);
    nc_kv_shape shape = { need, l->options.weights.compute == NC_BF16 };
    assert_int_equal(nc_kv_new(&shape, nc_kv_pages_for(n) + 2, 2, &kv, &e), 0);
    int other = nc_kv_open(kv, &e), slot = nc_kv_open(kv, &e);                  /* not the first slot, not the first page */
    assert_int_equal(nc_kv_reserve(kv, other, 3, &e), 0);
    for (int at = 0; at < n; at += chunk) {
        int count = n - at < chunk ? n - at : chunk;
        assert_int_equal(nc_kv_reserve(kv, slot, at + count, &e), 0);
        nc_seq s = { .ids = ids + at, .count = count, .start = at, .slot = slot };
        hidden(l, pool, nc_kv_cache(kv), &s, 1, out + (size_t)at * row);
    }
    nc_kv_free(kv);
}

static void check_model(const char *name, nc_dtype compute)
{
    nc_arena *a = nc_arena_new();
    bool there = nc_is_dir(folder_of(a, name));
    nc_arena_free(a);
    if (!there) {
        printf("skipped: %s (NUNCHI_SHARED names the folder of reference data)\n", name);
        return;
    }
    static const int chunks[] = { 1, 7, 64 };
    nc_pool *pool[3] = { nc_pool_new(1), nc_pool_new(2), nc_pool_new(3) };
    nc_loaded *plain = load(name, compute, false, pool[1]), *packed = load(name, compute, true, pool[1]);
    int positions = plain->model->max_positions, n = positions > 0 && positions < LONGEST ? positions : LONGEST;
    size_t row = nc_dtype_bytes(compute, plain->model->hidden_size);
    int32_t ids[(OTHERS + 1) * LONGEST];
    for (int i = 0; i < NC_COUNT(ids); i++)
        ids[i] = (i * 37 + 11) % (plain->model->vocab_size - 10) + 8;
    nc_seq alone = { .ids = ids, .count = n, .slot = -1 };
    nc_seq three[] = { { .ids = ids + LONGEST, .count = 17, .slot = -1 }, alone, { .ids = ids + 2 * LONGEST, .count = n, .slot = -1 } };
    char *want = malloc(row * LONGEST), *got = malloc(row * LONGEST * 3);
    hidden(plain, pool[0], NULL, &alone, 1, want);
    for (int t = 0; t < 3; t++) {
        hidden(packed, pool[t], NULL, &alone, 1, got);
        if (memcmp(want, got, row * (size_t)n))
            fail_msg("%s %s: packed weights, %d threads: other bits", name, nc_dtype_name(compute), t + 1);
        hidden(t == 1 ? plain : packed, pool[t], NULL, three, 3, got);
        if (memcmp(want, got + 17 * row, row * (size_t)n))
            fail_msg("%s %s: in a batch, %d threads: other bits", name, nc_dtype_name(compute), t + 1);
    }
    for (int i = 0; i < NC_COUNT(chunks); i++) {
        chunked(packed, pool[i], ids, n, chunks[i], got, row);
        if (memcmp(want, got, row * (size_t)n))
            fail_msg("%s %s: in chunks of %d: other bits", name, nc_dtype_name(compute), chunks[i]);
    }
    free(want);
    free(got);
    nc_loaded_free(plain);
    nc_loaded_free(packed);
    for (int t = 0; t < 3; t++)
        nc_pool_free(pool[t]);
}

static int still_stored(const nc_loaded *l)
{
    int n = 0;
    for (int i = 0; i < l->model->site_count; i++)
        n += l->model->sites[i]->packed && nc_gemm_is_stored(l->model->sites[i]->packed);
    return n;
}

/* A bf16 folder: token by token its weights stay in the file, a longer stretch packs them, and nothing changes. */
static void weights_as_stored_have_the_same_bits(void **state)
{
    enum { N = 40 };
    const bool can = nc_gemm_can_store(nc_kernels_best(), 64, 64);
    nc_pool *pool = nc_pool_new(2);
    int32_t ids[N];
    (void)state;
    for (int f = 0; f < NC_COUNT(folders); f++) {
        nc_arena *a = nc_arena_new();
        bool there = nc_is_dir(folder_of(a, folders[f]));
        nc_arena_free(a);
        if (!there)
            continue;
        char made[] = "/tmp/nunchi-stored-XXXXXX";
        nc_error e = { 0 };
        assert_non_null(mkdtemp(made));
        nc_loaded *first = load(folders[f], NC_BF16, false, pool);
        assert_int_equal(nc_model_save(first->model, made, NC_BF16, 0, &e), 0);
        nc_loaded_free(first);
        nc_loaded *plain = load_folder(made, NC_BF16, false, pool), *stored = load_folder(made, NC_BF16, true, pool);
        size_t row = (size_t)plain->model->hidden_size * 2;
        for (int i = 0; i < N; i++)
            ids[i] = (i * 29 + 5) % (plain->model->vocab_size - 10) + 8;
        char *want = malloc(row * N), *got = malloc(row * N);
        int before = still_stored(stored);
        hidden(plain, pool, NULL, &(nc_seq){ .ids = ids, .count = N, .slot = -1 }, 1, want);
        static const int chunks[] = { 1, 5, N, 1 };
        for (int i = 0; i < NC_COUNT(chunks); i++) {
            chunked(stored, pool, ids, N, chunks[i], got, row);
            if (memcmp(want, got, row * N))
                fail_msg("%s: %d of %d weights as stored, in chunks of %d: other bits", folders[f], still_stored(stored), before, chunks[i]);
            if (can && !strcmp(folders[f], "llama") && (before == 0 || (still_stored(stored) == before) != (i < 2)))
                fail_msg("%s: %d weights were left in the file, %d after chunks of %d", folders[f], before, still_stored(stored), chunks[i]);
        }
        free(want), free(got);
        nc_loaded_free(plain);
        nc_loaded_free(stored);
        nc_remove_tree(made, NULL);
    }
    nc_pool_free(pool);
}

static void f32_rows_have_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < NC_COUNT(folders); i++)
        check_model(folders[i], NC_F32);
}

static void bf16_rows_have_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < NC_COUNT(folders); i++)
        check_model(folders[i], NC_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(f32_rows_have_the_same_bits), cmocka_unit_test(bf16_rows_have_the_same_bits),
                                        cmocka_unit_test(weights_as_stored_have_the_same_bits) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
