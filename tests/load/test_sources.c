/* test_sources.c - every dtype a file may hold x packed or plain x stored transposed (GPT-2) or not (Qwen3) x f32 or bf16 runs x threads: each element of each
 * site is the file's, rounded once where the run is bf16. Sizes are such that tables take several pieces and no row count is whole panels. Also: masters of
 * training keep the file's f32, and nc_weights_bytes says what loading takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "load/load.h"

static const char gpt2[] = "{\"model_type\":\"gpt2\",\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":2051,\"n_positions\":37,\"n_ctx\":37,\"n_embd\":80,\"n_layer\":1,"
                           "\"n_head\":5,\"n_inner\":null,\"activation_function\":\"gelu_new\",\"layer_norm_epsilon\":1e-05}";
static const char qwen3[] = "{\"model_type\":\"qwen3\",\"architectures\":[\"Qwen3ForCausalLM\"],\"vocab_size\":2051,\"hidden_size\":80,\"intermediate_size\":200,"
                            "\"num_hidden_layers\":1,\"num_attention_heads\":5,\"num_key_value_heads\":1,\"head_dim\":24,\"hidden_act\":\"silu\","
                            "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-06,\"rope_theta\":10000,\"tie_word_embeddings\":true}";
static const nc_dtype dtypes[] = { NC_F64, NC_F32, NC_BF16, NC_F16, NC_F8_E4M3, NC_F8_E5M2 };

/* Element i of site `site` in the file's order: of both signs, with more digits than any of the types but f64 has. */
static double element(int site, int64_t i)
{
    uint64_t x = ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u + (uint64_t)site * 0xbf58476d1ce4e5b9u;
    x ^= x >> 29;
    x *= 0x94d049bb133111ebu;
    return ((double)(x >> 11) / 9007199254720512.0 - 0.5) * 6;
}

static nc_loaded *load(const char *folder, bool config_only, nc_load_options o)
{
    nc_error e = { 0 };
    nc_loaded *l = NULL;
    o.config_only = config_only;
    o.no_front = true;
    if (nc_load(folder, &o, &l, &e) < 0)
        fail_msg("%s", e.message);
    return l;
}

static const float *kept[64];                            /* what the file's dtype keeps of each site's elements, as f32 */

static void write_folder(nc_arena *a, const char *folder, const char *config, nc_dtype t)
{
    nc_error e = { 0 };
    if (nc_mkdirs(folder, &e) < 0 || nc_file_write(nc_path_join(a, folder, "config.json"), config, strlen(config), &e) < 0)
        fail_msg("%s", e.message);
    nc_loaded *l = load(folder, true, (nc_load_options){ .weights = { .compute = NC_F32 } });
    nc_store *stores = nc_xcalloc((size_t)l->model->site_count, sizeof *stores);
    for (int i = 0; i < l->model->site_count; i++) {
        const nc_site *s = l->model->sites[i];
        char *data = nc_arena_alloc(a, nc_dtype_bytes(t, nc_site_count(s)));
        float *keep = nc_arena_alloc(a, (size_t)nc_site_count(s) * 4);
        for (int64_t j = 0; j < nc_site_count(s); j++) {
            nc_dtype_store(t, data, j, element(i, j));
            keep[j] = (float)nc_dtype_load(t, data, j);
        }
        assert_in_range(i, 0, NC_COUNT(kept) - 1);
        kept[i] = keep;
        stores[i] = (nc_store){ s->name, t, s->file_shape, data };
    }
    if (nc_safetensors_write_folder(folder, "model", stores, l->model->site_count, NULL, 0, NULL, NULL, &e) < 0)
        fail_msg("%s", e.message);
    free(stores);
    nc_loaded_free(l);
}

/* A weight that trains in bf16 is held packed twice: as it is, and turned for the gradient of its input. */
static void check_turned(const nc_site *s, const nc_weights_options *o, int i)
{
    int64_t rows = s->shape.dim[0], columns = nc_site_count(s) / rows;
    nc_gemm_b turned = { 0 };
    nc_error e = { 0 };
    if (!nc_site_trains_packed(s, o))
        return;
    assert_int_equal(nc_gemm_b_borrow(&turned, NC_GEMM_BF16, columns, rows, s->packed->turned, &e), 0);
    float *row = nc_xmalloc((size_t)rows * 4);
    for (int64_t c = 0; c < columns; c++) {
        nc_gemm_unpack_row(&turned, c, row, NC_F32);
        for (int64_t r = 0; r < rows; r++)
            if (row[r] != nc_bf16_to_f32(nc_f32_to_bf16(kept[i][s->flags & NC_SITE_TRANSPOSED ? c * rows + r : r * columns + c])))
                fail_msg("%s: turned element %lld,%lld is %g", s->name, (long long)c, (long long)r, (double)row[r]);
    }
    free(row);
}

static void check_site(const nc_model *m, int i, nc_dtype t, const nc_weights_options *o)
{
    const nc_site *s = m->sites[i];
    int64_t rows = s->shape.dim[0], columns = nc_site_count(s) / rows;
    bool packed = nc_site_is_packed(s, o), rounds = o->compute == NC_BF16 && (packed || !(s->flags & NC_SITE_KEEP_F32));
    assert_int_equal(s->packed != NULL, packed);
    assert_int_equal(packed, (s->flags & NC_SITE_LINEAR) && (o->pack || (s->trainable && o->compute == NC_BF16 && !(s->flags & (NC_SITE_HEAD | NC_SITE_KEEP_F32)))));
    check_turned(s, o, i);
    float *row = nc_xmalloc((size_t)columns * 4);
    for (int64_t r = 0; r < rows; r++) {
        if (packed)
            nc_gemm_unpack_row(s->packed, r, row, NC_F32);
        for (int64_t c = 0; c < columns; c++) {
            float want = kept[i][s->flags & NC_SITE_TRANSPOSED ? c * rows + r : r * columns + c];
            float have = packed ? row[c] : (float)nc_dtype_load(s->value.dtype, s->value.data, r * columns + c);
            if (s->trainable && s->master[r * columns + c] != want)
                fail_msg("%s of %s: master %lld,%lld is %g, the file has %g", s->name, nc_dtype_name(t), (long long)r, (long long)c,
                         (double)s->master[r * columns + c], (double)want);
            want = rounds ? nc_bf16_to_f32(nc_f32_to_bf16(want)) : want;
            if (have != want)
                fail_msg("%s of %s, %s run, %s: element %lld,%lld is %g, the file has %g", s->name, nc_dtype_name(t), nc_dtype_name(o->compute),
                         packed ? "packed" : "plain", (long long)r, (long long)c, (double)have, (double)want);
        }
    }
    free(row);
}

static size_t up64(size_t v) { return (v + 63) & ~(size_t)63; }

/* The plan for a file of the run's own dtype, or of any float type in a bf16 run, is what the sites then hold. */
static void check_plan(const nc_model *m, const nc_weights_options *o)
{
    nc_weights_plan plan = nc_weights_bytes(m, o, NC_DTYPES), held = { 0 };
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *s = m->sites[i];
        int64_t rows = s->shape.dim[0], columns = nc_site_count(s) / rows;
        size_t turned = nc_site_trains_packed(s, o) ? (size_t)nc_gemm_panels(columns) * nc_gemm_panel_bytes(NC_GEMM_BF16, rows) : 0;
        held.values += up64((s->packed ? s->packed->bytes : nc_dtype_bytes(s->value.dtype, nc_site_count(s))) + turned);
        held.masters += s->master && s->master != s->value.data ? up64((size_t)nc_site_count(s) * 4) : 0;
        held.gradients += s->grad ? up64((size_t)nc_site_count(s) * 4) : 0;
    }
    assert_int_equal(plan.values, held.values);
    assert_int_equal(plan.masters, held.masters);
    assert_int_equal(plan.gradients, held.gradients);
}

static void check_folder(const char *folder, nc_dtype t)
{
    static const char *const all[] = { "*", NULL };
    for (int run = 0; run < 12; run++) {                /* threads x dtype x (packed, plain, plain and trained) */
        nc_pool *pool = nc_pool_new(run % 2 ? 3 : 1);
        nc_load_options o = { .weights = { run / 2 % 2 ? NC_BF16 : NC_F32, run / 4 == 0, pool, nc_kernels_best() }, .train = run / 4 == 2 ? all : NULL };
        nc_loaded *l = load(folder, false, o);
        for (int i = 0; i < l->model->site_count; i++)
            check_site(l->model, i, t, &o.weights);
        if (o.weights.compute == NC_BF16 || t != NC_BF16)
            check_plan(l->model, &o.weights);
        nc_loaded_free(l);
        nc_pool_free(pool);
    }
}

static void every_source(const char *config)
{
    char folder[] = "/tmp/nunchi-sources-XXXXXX";
    nc_error e = { 0 };
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < NC_COUNT(dtypes); i++) {
        nc_arena *a = nc_arena_new();
        write_folder(a, folder, config, dtypes[i]);
        check_folder(folder, dtypes[i]);
        nc_arena_free(a);
    }
    assert_int_equal(nc_remove_tree(folder, &e), 0);
}

static void transposed(void **state) { (void)state; every_source(gpt2); }
static void straight(void **state) { (void)state; every_source(qwen3); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(transposed), cmocka_unit_test(straight) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
