/* test_views.c - decoders that attend to their media: a text's rows have the same bits alone, packed with others, with 1 to 3 threads, with weights plain and packed, and in stretches
 * with the keys of its pictures in the cache; a row depends on the picture it sees and on no other. Weights are random, the gates open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "infer/kv_pages.h"
#include "load/load.h"

enum { LENGTH = 90, PICTURES = 3, SIDE = 28, PIXELS = 3 * SIDE * SIDE, IMAGE = 97, END = 7 };

static const char *const variants[] = {
    /* two pages of latents for each picture */
    "\"use_resampler\": true, \"alpha_type\": \"float\", \"qk_layer_norms\": true, \"perceiver_config\": {\"resampler_n_latents\": 70, \"resampler_depth\": 1, \"resampler_n_heads\": 2,"
    " \"resampler_head_dim\": 6, \"qk_layer_norms_perceiver\": true}",
    "\"use_resampler\": false, \"alpha_type\": \"vector\", \"qk_layer_norms\": false, \"cross_layer_interval\": 1",
};

static void check(int status, const nc_error *e)
{
    if (status < 0)
        fail_msg("%s", e->message);
}

static int try_load(const char *variant, nc_dtype compute, bool pack, nc_pool *pool, nc_loaded **out, nc_error *e)
{
    char folder[] = "/tmp/nunchi-views-XXXXXX", path[64], config[2048];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/config.json", folder);
    snprintf(config, sizeof config, "{\"model_type\": \"idefics\", \"architectures\": [\"IdeficsForVisionText2Text\"], \"vocab_size\": 96, \"additional_vocab_size\": 2, \"hidden_size\": 24,"
             " \"intermediate_size\": 40, \"num_hidden_layers\": 4, \"num_attention_heads\": 2, \"max_position_embeddings\": 256, \"eos_token_id\": %d, \"initializer_range\": 0.3,"
             " %s\"vision_config\": {\"embed_dim\": 16, \"image_size\": %d, \"patch_size\": 7, \"intermediate_size\": 20, \"num_hidden_layers\": 2,"
             " \"num_attention_heads\": 2}, %s%s}", END, strstr(variant, "alpha_initializer") ? "" : "\"alpha_initializer\": \"ones\", ", SIDE, variant, strstr(variant, "cross_layer_interval") ? "" : ", \"cross_layer_interval\": 2");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(config, f);
    fclose(f);
    nc_load_options o = { .weights = { compute, pack, pool, nc_kernels_best() }, .random = true, .seed = 3, .no_front = true };
    int status = nc_load(folder, &o, out, e);
    unlink(path);
    rmdir(folder);
    return status;
}

static nc_loaded *load(const char *variant, nc_dtype compute, bool pack, nc_pool *pool)
{
    nc_loaded *l = NULL;
    nc_error e = { 0 };
    check(try_load(variant, compute, pack, pool, &l, &e), &e);
    return l;
}

/* A text with pictures at rows 5, 6 and 60, which ends at row 40 and begins anew with its third picture. */
struct text { int32_t ids[LENGTH]; float pixels[PICTURES][PIXELS]; nc_pixels frame[PICTURES]; nc_media media[PICTURES]; nc_seq seq; };

static void write_text(struct text *t, uint64_t seed, int pictures)
{
    nc_rng rng = nc_rng_new(seed, 0);
    static const int at[PICTURES] = { 5, 6, 60 };
    for (int i = 0; i < LENGTH; i++)
        t->ids[i] = 10 + (int32_t)nc_rng_below(&rng, 86);
    t->ids[40] = END;
    for (int k = 0; k < pictures; k++) {
        t->ids[at[k]] = IMAGE;
        for (int i = 0; i < PIXELS; i++)
            t->pixels[k][i] = (float)nc_rng_normal(&rng);
        t->frame[k] = (nc_pixels){ .data = t->pixels[k], .channels = 3, .height = SIDE, .width = SIDE };
        t->media[k] = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = &t->frame[k], .count = 1 };
    }
    t->seq = (nc_seq){ .ids = t->ids, .count = LENGTH, .slot = -1, .media = t->media, .media_count = pictures };
}

/* Runs what `build` writes over the batch; its value as bytes. */
typedef nc_value *stage(const nc_loaded *l, nc_build *b);
static size_t run(const nc_loaded *l, nc_pool *pool, nc_cache *cache, const nc_seq *seq, int count, stage *build, void *out)
{
    nc_error e = { 0 };
    nc_batch *batch = nc_batch_new();
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = l->options.weights.compute, .cache = cache });
    nc_build *b = nc_program_build(p);
    check(nc_model_prepare(l->model, batch, seq, count, &e), &e);
    nc_build_capacities(b, batch);
    nc_value *x = build(l, b);
    if (x)
        nc_build_keep(b, x, "x");
    check(nc_program_finish(p, NULL, nc_pool_threads(pool), &e), &e);
    check(nc_program_allocate(p, NULL, &e), &e);
    check(nc_program_run(p, batch, &(nc_run_options){ .pool = pool, .kernels = nc_kernels_best() }, &e), &e);
    size_t bytes = x ? nc_dtype_bytes(x->dtype, x->shape.dim[0] * x->shape.dim[1]) : 0;
    if (x)
        memcpy(out, x->data, bytes);
    nc_program_free(p);
    nc_batch_free(batch);
    return bytes;
}

static nc_value *whole(const nc_loaded *l, nc_build *b) { return nc_model_decoder(l->model, b, nc_model_tower(l->model, b)); }
static nc_value *cached(const nc_loaded *l, nc_build *b) { return nc_model_decoder(l->model, b, NULL); }
static nc_value *pictures(const nc_loaded *l, nc_build *b) { return nc_model_tower(l->model, b); }
static nc_value *keep(const nc_loaded *l, nc_build *b)
{
    l->model->family->cross(l->model, l->model->self, b, nc_in(b, "media.features", l->options.weights.compute, "media", nc_model_media_width(l->model)));
    return NULL;
}

/* The text in stretches, its pictures' keys in a slot that is neither the first nor begins the pool. */
static void stretches(const nc_loaded *l, nc_pool *pool, const struct text *t, int chunk, char *out, size_t row)
{
    nc_error e = { 0 };
    nc_cache_need need;
    nc_kv *kv = NULL;
    nc_views views;
    nc_media media[PICTURES];
    const nc_model *m = l->model;
    m->family->cache(m->self, &need);
    check(m->family->views(m, m->self, t->ids, LENGTH, t->media, t->seq.media_count, &views, &e), &e);
    check(nc_kv_new(&(nc_kv_shape){ need, l->options.weights.compute == NC_BF16 }, nc_kv_pages_for(LENGTH) + views.pages + 1, 3, &kv, &e), &e);
    int other = nc_kv_open(kv, &e), cross = nc_kv_open(kv, &e), slot = nc_kv_open(kv, &e);
    check(nc_kv_reserve(kv, other, 3, &e), &e);
    check(nc_kv_reserve(kv, cross, (int64_t)views.pages * NC_KEY_BLOCK, &e), &e);
    char *features = malloc(1 << 20), *at = features;
    for (int k = 0; k < t->seq.media_count; k++) {                /* one after the other, as a server meets them */
        nc_seq one = { .slot = -1, .media = &t->media[k], .media_count = 1 };
        media[k] = t->media[k];
        media[k].features = at;
        media[k].feature_rows = m->family->feature_rows(m->self, &media[k]);
        at += run(l, pool, NULL, &one, 1, pictures, at);
    }
    nc_seq fill = { .slot = -1, .media = media, .media_count = t->seq.media_count, .feature_dtype = l->options.weights.compute, .cross_slot = cross, .views = &views };
    run(l, pool, nc_kv_cache(kv), &fill, 1, keep, NULL);
    for (int i = 0; i < LENGTH; i += chunk) {
        int count = LENGTH - i < chunk ? LENGTH - i : chunk;
        check(nc_kv_reserve(kv, slot, i + count, &e), &e);
        nc_seq s = { .ids = t->ids + i, .count = count, .start = i, .slot = slot, .cross_slot = cross, .views = &views };
        run(l, pool, nc_kv_cache(kv), &s, 1, cached, out + (size_t)i * row);
    }
    free(features);
    nc_views_free(&views);
    nc_kv_free(kv);
}

static void check_bits(const char *variant, nc_dtype compute)
{
    static const int chunks[] = { 1, 7, 64 };
    static struct text a, b, c;
    nc_pool *pool[3] = { nc_pool_new(1), nc_pool_new(2), nc_pool_new(3) };
    nc_loaded *plain = load(variant, compute, false, pool[1]), *packed = load(variant, compute, true, pool[1]);
    write_text(&a, 1, 3);
    write_text(&b, 2, 2);
    write_text(&c, 3, 0);
    nc_seq packed_texts[] = { c.seq, b.seq, a.seq, b.seq };
    packed_texts[1].count = 33;
    size_t row = nc_dtype_bytes(compute, plain->model->hidden_size), bytes = row * LENGTH;
    char *want = malloc(bytes), *got = malloc(4 * bytes);
    run(plain, pool[0], NULL, &a.seq, 1, whole, want);
    for (int t = 0; t < 3; t++) {
        run(packed, pool[t], NULL, &a.seq, 1, whole, got);
        assert_memory_equal(got, want, bytes);
        run(t == 1 ? plain : packed, pool[t], NULL, packed_texts, 4, whole, got);
        assert_memory_equal(got + row * (LENGTH + 33), want, bytes);
        stretches(packed, pool[t], &a, chunks[t], got, row);
        assert_memory_equal(got, want, bytes);
    }
    free(want);
    free(got);
    nc_loaded_free(plain);
    nc_loaded_free(packed);
    for (int t = 0; t < 3; t++)
        nc_pool_free(pool[t]);
}

static void rows_have_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < NC_COUNT(variants); i++) {
        check_bits(variants[i], NC_F32);
        check_bits(variants[i], NC_BF16);
    }
}

/* What each row sees, by the rule; and that changing a picture changes the rows from its own on and none before. */
static void rows_see_the_picture_before_them(void **state)
{
    static struct text t;
    nc_error e = { 0 };
    nc_views v;
    nc_pool *pool = nc_pool_new(2);
    (void)state;
    for (int i = 0; i < NC_COUNT(variants); i++) {
        nc_loaded *l = load(variants[i], NC_F32, false, pool);
        const nc_model *m = l->model;
        write_text(&t, 1, 3);
        check(m->family->views(m, m->self, t.ids, LENGTH, t.media, 3, &v, &e), &e);
        for (int r = 0; r < LENGTH; r++) {
            int picture = r < 5 || (r > 40 && r < 60) ? -1 : r < 6 ? 0 : r < 60 ? 1 : 2;
            assert_int_equal(v.of[r].rows > 0, picture >= 0);
            if (picture >= 0)
                assert_int_equal(v.of[r].row, v.group[picture].row);
        }
        nc_views_free(&v);
        float *before = malloc(sizeof *before * LENGTH * 24), *after = malloc(sizeof *after * LENGTH * 24);
        run(l, pool, NULL, &t.seq, 1, whole, before);
        t.pixels[1][100] += 3;
        run(l, pool, NULL, &t.seq, 1, whole, after);
        assert_memory_equal(before, after, sizeof *before * 6 * 24);
        assert_memory_not_equal(before + 6 * 24, after + 6 * 24, sizeof *before * 24);
        free(before);
        free(after);
        nc_loaded_free(l);
    }
    nc_pool_free(pool);
}

/* What is written after a prompt sees what its last token saw, an end token or not. */
static void what_follows_a_prompt_sees_what_its_end_saw(void **state)
{
    static struct text t;
    nc_pool *pool = nc_pool_new(1);
    nc_loaded *l = load(variants[0], NC_F32, false, pool);
    float *open = malloc(sizeof *open * LENGTH * 24), *closed = malloc(sizeof *closed * LENGTH * 24);
    (void)state;
    write_text(&t, 1, 2);
    run(l, pool, NULL, &t.seq, 1, whole, closed);
    t.seq.prompt = 30;
    run(l, pool, NULL, &t.seq, 1, whole, open);
    assert_memory_equal(open, closed, sizeof *open * 41 * 24);
    assert_memory_not_equal(open + 41 * 24, closed + 41 * 24, sizeof *open * 24);
    free(open);
    free(closed);
    nc_loaded_free(l);
    nc_pool_free(pool);
}

/* One line that names the key and what is wrong with it. */
static void mistakes_are_named(void **state)
{
    static const struct { const char *config, *says; } cases[] = {
        { "\"cross_layer_interval\": 3", "num_hidden_layers 4 is no multiple of cross_layer_interval 3" },
        { "\"alpha_type\": \"scalar\"", "alpha_type \"scalar\" is neither" },
        { "\"alpha_initializer\": \"uniform\"", "alpha_initializer" },
        { "\"use_resampler\": true, \"perceiver_config\": {\"resampler_n_latents\": 0}", "a resampler of 0 latents" },
        { "\"perceiver_config\": {\"resampler_width\": 3}", "\"resampler_width\" is not understood" },
        { "\"num_key_value_heads\": 1", "(1 of keys)" },
    };
    nc_pool *pool = nc_pool_new(1);
    (void)state;
    for (int i = 0; i < NC_COUNT(cases); i++) {
        nc_loaded *l = NULL;
        nc_error e = { 0 };
        assert_true(try_load(cases[i].config, NC_F32, false, pool, &l, &e) < 0);
        if (!strstr(e.message, cases[i].says))
            fail_msg("%s: %s", cases[i].config, e.message);
    }
    nc_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rows_have_the_same_bits), cmocka_unit_test(rows_see_the_picture_before_them),
                                        cmocka_unit_test(what_follows_a_prompt_sees_what_its_end_saw), cmocka_unit_test(mistakes_are_named) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
