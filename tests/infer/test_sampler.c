/* The sampler against the reference's processors, its draws against the distribution, seeds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "infer/decoding.h"

/* One case: its options as a caller's, on every row. */
static void run_case(nc_arena *a, const nc_json *c, const nc_safetensors *s)
{
    const nc_json *o = nc_json_get(c, "options");
    char name[128];
    float row[64];
    int32_t ids[64], source[64];
    nc_error e = { 0 };
    nc_decoding d;
    const nc_stored *logits = nc_safetensors_find(s, nc_json_string(nc_json_get(c, "logits"), "")), *given = nc_safetensors_find(s, nc_json_string(nc_json_get(c, "ids"), ""));
    const nc_stored *encoder = nc_safetensors_find(s, "encoder_ids");
    snprintf(name, sizeof name, "out.%s", nc_json_string(nc_json_get(c, "name"), ""));
    const nc_stored *want = nc_safetensors_find(s, name);
    assert_non_null(logits);
    assert_non_null(given);
    assert_non_null(want);
    int rows = (int)logits->shape.dim[0], v = (int)logits->shape.dim[1], length = (int)given->shape.dim[1], sources = encoder ? (int)encoder->shape.dim[1] : 0;
    nc_decoding_init(&d);
    d.sample.top_k = 0;
    if (nc_decoding_read(&d, a, o, "golden.json", &e) < 0)
        fail_msg("%s", e.message);
    d.sample.process = &d.process;
    int prompt = (int)nc_json_int(nc_json_get(o, "prompt_length"), nc_json_int(nc_json_get(o, "begin_index"), length));
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < v; i++)
            row[i] = (float)nc_dtype_load(logits->dtype, logits->data, r * v + i);
        for (int i = 0; i < length; i++)
            ids[i] = (int32_t)nc_dtype_load(given->dtype, given->data, r * length + i);
        for (int i = 0; i < sources; i++)
            source[i] = (int32_t)nc_dtype_load(encoder->dtype, encoder->data, r * sources + i);
        nc_sampler *x = nc_sampler_new(&d.sample, nc_kernels_best(), v, ids, prompt);
        nc_sampler_knows(x, source, sources, d.max_length);
        for (int i = prompt; i < length; i++)
            nc_sampler_saw(x, ids[i]);
        nc_sampler_process(x, row);
        nc_sampler_free(x);
        for (int i = 0; i < v; i++) {
            double w = nc_dtype_load(want->dtype, want->data, r * v + i);
            if (isinf(w) != isinf(row[i]) || (!isinf(w) && fabs(w - row[i]) > 1e-5))
                fail_msg("%s row %d token %d: %g, the reference has %g", name, r, i, (double)row[i], w);
        }
    }
}

static void test_reference(void **state)
{
    (void)state;
    char path[600], json[600];
    const char *shared = getenv("NUNCHI_SHARED");
    nc_error e = { 0 };
    nc_safetensors *s = NULL;
    nc_json *g = NULL;
    int ran = 0;
    snprintf(path, sizeof path, "%s/golden/sampling/golden.safetensors", shared ? shared : "../shared");
    if (!nc_file_exists(path))
        snprintf(path, sizeof path, "tests/golden/sampling/golden.safetensors");
    if (!nc_file_exists(path)) {
        printf("skipped: %s is not there\n", path);
        return;
    }
    snprintf(json, sizeof json, "%.*sgolden.json", (int)(strlen(path) - strlen("golden.safetensors")), path);
    nc_arena *a = nc_arena_new();
    assert_int_equal(nc_safetensors_open(path, &s, &e), 0);
    assert_int_equal(nc_json_load(a, json, &g, &e), 0);
    NC_JSON_EACH(c, nc_json_get(g, "cases"))
        run_case(a, c, s), ran++;
    assert_true(ran >= 30);
    nc_safetensors_close(s);
    nc_arena_free(a);
}

/* 20000 draws of a distribution of eight tokens: chi-squared with 7 degrees of freedom stays below its 99.99 % point. */
static void test_distribution(void **state)
{
    (void)state;
    const float logits[8] = { 0, 1, -1, 2, 0.5f, -3, 1.5f, 0.25f };
    double total = 0, chi = 0;
    int count[8] = { 0 }, n = 20000;
    nc_sample_options o;
    nc_sample_defaults(&o);
    o.temperature = 0.8;
    o.seed = 11;
    nc_sampler *s = nc_sampler_new(&o, nc_kernels_best(), 8, NULL, 0);
    for (int i = 0; i < n; i++) {
        float row[8];
        nc_token t;
        nc_error e;
        memcpy(row, logits, sizeof row);
        assert_int_equal(nc_sampler_draw(s, row, i, &t, &e), 0);
        count[t.id]++;
    }
    nc_sampler_free(s);
    for (int i = 0; i < 8; i++)
        total += exp(logits[i] / 0.8);
    for (int i = 0; i < 8; i++) {
        double want = n * exp(logits[i] / 0.8) / total;
        chi += (count[i] - want) * (count[i] - want) / want;
    }
    assert_true(chi < 29.9);
}

static void draw_all(uint64_t seed, int choice, int32_t out[64])
{
    nc_sample_options o;
    nc_sample_defaults(&o);
    o.temperature = 1.5;
    o.seed = seed;
    o.choice = choice;
    nc_sampler *s = nc_sampler_new(&o, nc_kernels_best(), 32, NULL, 0);
    for (int i = 0; i < 64; i++) {
        float row[32];
        nc_token t;
        nc_error e;
        for (int j = 0; j < 32; j++)
            row[j] = (float)((i * 7 + j * 13) % 11) / 5;
        assert_int_equal(nc_sampler_draw(s, row, i, &t, &e), 0);
        out[i] = t.id;
    }
    nc_sampler_free(s);
}

static void test_seeds(void **state)
{
    (void)state;
    int32_t a[64], b[64], c[64], d[64];
    draw_all(3, 0, a);
    draw_all(3, 0, b);
    draw_all(4, 0, c);
    draw_all(3, 1, d);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    assert_memory_not_equal(a, d, sizeof a);
}

static void test_logprobs(void **state)
{
    (void)state;
    float row[5] = { 1, 3, 2, 3, -INFINITY }, broken[2] = { NAN, NAN };
    double lse = log(exp(1) + 2 * exp(3) + exp(2));
    nc_sample_options o;
    nc_token t;
    nc_error e = { 0 };
    nc_sample_defaults(&o);
    o.logprobs = true;
    o.top_logprobs = 3;
    o.frequency_penalty = 1;
    o.presence_penalty = 0.5;
    nc_sampler *s = nc_sampler_new(&o, nc_kernels_best(), 5, NULL, 0);
    assert_int_equal(nc_sampler_draw(s, row, 0, &t, &e), 0);
    assert_int_equal(t.id, 1);
    assert_true(fabs(t.logprob - (3 - lse)) < 1e-5);
    assert_int_equal(t.top_count, 3);
    assert_int_equal(t.top[0].id, 1);
    assert_int_equal(t.top[1].id, 3);
    assert_int_equal(t.top[2].id, 2);
    assert_true(fabs(t.top[2].logprob - (2 - lse)) < 1e-5);
    float again[5] = { 1, 3, 2, 2.5f, 0 };
    assert_int_equal(nc_sampler_draw(s, again, 1, &t, &e), 0);   /* 3 - 1.5 = 1.5 < 2.5 */
    assert_int_equal(t.id, 3);
    nc_sampler_free(s);
    s = nc_sampler_new(&o, nc_kernels_best(), 2, NULL, 0);
    assert_int_equal(nc_sampler_draw(s, broken, 0, &t, &e), NC_EFORMAT);
    nc_sampler_free(s);
}

/* A caller's options lie over the folder's, null takes one back; what would change the text in ways not offered is refused. */
static void test_options(void **state)
{
    static const struct { const char *json, *says; } wrong[] = {
        { "{\"num_beams\": 0}", "num_beams" }, { "{\"top_p\": 1.5}", "from 0 to 1" }, { "{\"bad_words_ids\": [[]]}", "bad_words_ids" }, { "{\"early_stopping\": \"soon\"}", "never" },
        { "{\"penalty_alpha\": 0.6}", "not offered" }, { "{\"num_beam_groups\": 2}", "not offered" }, { "{\"suppress_tokens\": [-1]}", "suppress_tokens" },
        { "{\"stop_strings\": [\"x\"]}", "stop_strings" }, { "{\"token_healing\": true}", "not offered" }, { "{\"diversity_penalty\": 0.5}", "diversity_penalty" },
    };
    nc_arena *a = nc_arena_new();
    nc_json *v = NULL;
    nc_error e = { 0 };
    nc_decoding d;
    (void)state;
    nc_decoding_init(&d);
    assert_int_equal(nc_json_parse(a, NC_STR("{\"num_beams\": 4, \"forced_bos_token_id\": 6, \"bad_words_ids\": [[1, 2]], \"length_penalty\": 2.0, \"num_beam_groups\": 1, \"use_cache\": true, \"token_healing\": false, \"stop_strings\": [],"
                                           " \"exponential_decay_length_penalty\": [3, 1.5]}"), "a", &v, &e), 0);
    assert_int_equal(nc_decoding_read(&d, a, v, "a", &e), 0);
    assert_int_equal(d.beams, 4);
    assert_int_equal(d.process.forced_bos, 6);
    assert_int_equal(d.process.bad_word_count, 1);
    assert_true(d.process.decays && d.process.decay_start == 3);
    assert_int_equal(nc_json_parse(a, NC_STR("{\"num_beams\": null, \"forced_bos_token_id\": null, \"bad_words_ids\": null, \"exponential_decay_length_penalty\": null}"), "b", &v, &e), 0);
    assert_int_equal(nc_decoding_read(&d, a, v, "b", &e), 0);
    assert_int_equal(d.beams, 1);
    assert_true(d.length_penalty > 1.9);
    assert_true(nc_processors_idle(&d.process));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(nc_json_parse(a, nc_str_of(wrong[i].json), "c", &v, &e), 0);
        assert_true(nc_decoding_read(&d, a, v, "c", &e) < 0);
        assert_non_null(strstr(e.message, wrong[i].says));
    }
    assert_true(nc_decoding_names(NC_STR("num_beams")) && nc_decoding_names(NC_STR("penalty_alpha")) && nc_decoding_names(NC_STR("prompt_lookup_num_tokens")));
    assert_false(nc_decoding_names(NC_STR("num_beamz")));
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_reference), cmocka_unit_test(test_options), cmocka_unit_test(test_distribution), cmocka_unit_test(test_seeds), cmocka_unit_test(test_logprobs) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
