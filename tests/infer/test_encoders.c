/* test_encoders.c - encoders beyond their golden outputs: a text or picture gives the same bits alone and among others, folders are saved as they came, adapters attach,
 * texts and pictures as files give the vectors the reference gives, modules of sentence-transformers do what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "infer/embed.h"
#include "infer/picture_encoder.h"
#include "load/peft.h"

static const char *const folders[] = { "bert", "beit", "siglip2", "dinov2_with_registers", "clip", "siglip" };

static const char *golden(nc_arena *a, const char *folder, const char *file)
{
    return file ? nc_arena_printf(a, "tests/golden/models/%s/%s", folder, file) : nc_arena_printf(a, "tests/golden/models/%s", folder);
}

static nc_loaded *loaded(const char *folder, nc_pool *pool)
{
    nc_arena *a = nc_arena_new();
    nc_loaded *l = NULL;
    nc_error e = { 0 };
    nc_load_options o = { .weights = { NC_F32, false, pool, nc_kernels_best() }, .no_front = true };
    if (nc_load(golden(a, folder, NULL), &o, &l, &e) < 0)
        fail_msg("%s", e.message);
    nc_arena_free(a);
    return l;
}

/* ---- bits ---- */

/* Rows of an encoder of texts over some sequences. */
static float *rows_of(nc_loaded *l, nc_pool *pool, const nc_seq *seqs, int count, int64_t *n)
{
    nc_error e = { 0 };
    nc_batch *batch = nc_batch_new();
    nc_encoded x = { 0 };
    assert_int_equal(nc_model_prepare(l->model, batch, seqs, count, &e), 0);
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = NC_F32 });
    nc_build *b = nc_program_build(p);
    nc_build_capacities(b, batch);
    l->model->family->encode(l->model, l->model->self, b, NC_TEXTS, &x);
    nc_build_keep(b, x.rows, "rows");
    if (nc_program_finish(p, NULL, nc_pool_threads(pool), &e) < 0 || nc_program_allocate(p, NULL, &e) < 0
        || nc_program_run(p, batch, &(nc_run_options){ .pool = pool, .kernels = nc_kernels_best() }, &e) < 0)
        fail_msg("%s", e.message);
    *n = nc_program_count(p, "tokens") * l->model->hidden_size;
    float *out = nc_xmalloc(sizeof *out * (size_t)*n);
    memcpy(out, nc_program_value(p, "rows")->data, sizeof *out * (size_t)*n);
    nc_program_free(p);
    nc_batch_free(batch);
    return out;
}

static void a_text_has_the_same_bits_alone_and_among_others(void **state)
{
    static const int lengths[] = { 7, 1, 19, 12 };
    int32_t ids[64], types[64];
    nc_seq seqs[NC_COUNT(lengths)];
    nc_pool *one = nc_pool_new(1), *three = nc_pool_new(3);
    nc_loaded *l = loaded("bert", one);
    int64_t n, all;
    (void)state;
    for (int i = 0; i < 64; i++) {
        ids[i] = 2 + i * 37 % 150;
        types[i] = i % 2;
    }
    for (int i = 0, at = 0; i < NC_COUNT(lengths); at += lengths[i++])
        seqs[i] = (nc_seq){ .ids = ids + at, .types = types + at, .count = lengths[i], .slot = -1 };
    float *together = rows_of(l, three, seqs, NC_COUNT(lengths), &all), *at = together;
    for (int i = 0; i < NC_COUNT(lengths); i++) {
        float *alone = rows_of(l, one, &seqs[i], 1, &n);
        assert_memory_equal(alone, at, sizeof *alone * (size_t)n);
        at += n;
        free(alone);
    }
    assert_int_equal(at - together, all);
    free(together);
    nc_loaded_free(l);
    nc_pool_free(three);
    nc_pool_free(one);
}

/* Types and the text itself matter; a text too long is refused. */
static void what_a_text_encoder_reads(void **state)
{
    int32_t ids[64] = { 2 }, types[64] = { 0 };
    nc_pool *pool = nc_pool_new(1);
    nc_loaded *l = loaded("bert", pool);
    nc_batch *batch = nc_batch_new();
    nc_error e = { 0 };
    int64_t n;
    (void)state;
    for (int i = 0; i < 64; i++)
        ids[i] = i + 1;
    nc_seq s = { .ids = ids, .count = 9, .slot = -1 };
    float *first = rows_of(l, pool, &s, 1, &n);
    types[8] = 1;
    s.types = types;
    float *second = rows_of(l, pool, &s, 1, &n);
    assert_memory_not_equal(first, second, sizeof *first * (size_t)n);
    s.count = 41;
    assert_int_equal(nc_model_prepare(l->model, batch, &s, 1, &e), NC_ELIMIT);
    assert_non_null(strstr(e.message, "positions for 40"));
    s.count = 3;
    types[1] = 2;
    assert_int_equal(nc_model_prepare(l->model, batch, &s, 1, &e), NC_EINVAL);
    free(first);
    free(second);
    nc_batch_free(batch);
    nc_loaded_free(l);
    nc_pool_free(pool);
}

/* ---- files ---- */

static void folders_are_saved_as_they_came(void **state)
{
    nc_pool *pool = nc_pool_new(1);
    nc_arena *a = nc_arena_new();
    (void)state;
    for (int i = 0; i < NC_COUNT(folders); i++) {
        char folder[] = "/tmp/nunchi-encoder-XXXXXX";
        nc_loaded *l = loaded(folders[i], pool);
        nc_buf was = { 0 }, is = { 0 };
        nc_error e = { 0 };
        assert_non_null(mkdtemp(folder));
        assert_int_equal(nc_model_save(l->model, folder, NC_F32, 0, &e), 0);
        assert_int_equal(nc_file_read(golden(a, folders[i], "model.safetensors"), 1 << 26, &was, &e), 0);
        assert_int_equal(nc_file_read(nc_path_join(a, folder, "model.safetensors"), 1 << 26, &is, &e), 0);
        assert_int_equal(was.n, is.n);
        assert_memory_equal(was.p, is.p, was.n);
        nc_buf_free(&was);
        nc_buf_free(&is);
        nc_remove_tree(folder, &e);
        nc_loaded_free(l);
    }
    nc_arena_free(a);
    nc_pool_free(pool);
}

static void adapters_attach_to_every_product(void **state)
{
    static const int products[] = { 6 * 2 + 4, 6 * 2 + 1 };      /* bert: blocks, pooler, transform, next sentence (the tied decoder is a table); beit: blocks and classifier */
    nc_pool *pool = nc_pool_new(1);
    (void)state;
    for (int i = 0; i < NC_COUNT(folders); i++) {
        nc_loaded *l = loaded(folders[i], pool);
        nc_lora *lora = nc_lora_new();
        nc_error e = { 0 };
        nc_lora_config c = { .r = 2, .alpha = 4, .target = nc_json_new_string(l->arena, nc_str_of("all-linear")) };
        if (nc_lora_attach_targets(lora, l->model, &c, &e) < 0)
            fail_msg("%s: %s", folders[i], e.message);
        if (i < NC_COUNT(products))
            assert_true(lora->count <= products[i] && lora->count >= products[i] - 2);
        assert_true(lora->count >= 12);
        nc_lora_free(lora);
        nc_loaded_free(l);
    }
    nc_pool_free(pool);
}

/* ---- vectors ---- */

static float *golden_values(nc_arena *a, const char *folder, const char *name, int64_t *n)
{
    nc_safetensors *s = NULL;
    nc_error e = { 0 };
    assert_int_equal(nc_safetensors_open(golden(a, folder, "golden.safetensors"), &s, &e), 0);
    const nc_stored *t = nc_safetensors_find(s, name);
    assert_non_null(t);
    *n = nc_shape_count(&t->shape);
    float *out = NC_NEW_ARRAY(a, float, *n);
    memcpy(out, t->data, sizeof *out * (size_t)*n);
    nc_safetensors_close(s);
    return out;
}

static double largest_difference(const float *x, const float *y, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)x[i] - y[i]));
    return worst;
}

/* SigLIP's texts are padded and attended; the vectors are those of the reference, whatever else is asked. */
static void texts_give_the_references_vectors(void **state)
{
    nc_arena *a = nc_arena_new();
    nc_json *meta;
    nc_embedder *x = NULL;
    nc_error e = { 0 };
    nc_str texts[3];
    int64_t n;
    int count = 0;
    (void)state;
    assert_int_equal(nc_json_load(a, golden(a, "siglip", "golden.json"), &meta, &e), 0);
    NC_JSON_EACH(t, nc_json_get(meta, "texts"))
        texts[count++] = nc_str_of(nc_arena_printf(a, "<s>%s</s>", t->text.p));      /* as the golden's ids have them */
    assert_int_equal(count, 3);
    if (nc_embedder_open(golden(a, "siglip", NULL), &(nc_embed_options){ .compute = NC_F32, .threads = 2 }, &x, &e) < 0)
        fail_msg("%s", e.message);
    float *want = golden_values(a, "siglip", "out.text_embeds", &n), *together = NC_NEW_ARRAY(a, float, n), *alone = NC_NEW_ARRAY(a, float, n);
    const int width = nc_embedder_width(x);
    assert_int_equal(n, 3 * width);
    assert_int_equal(nc_embedder_run(x, texts, 3, together, NULL, &e), 0);
    assert_true(largest_difference(together, want, n) < 2e-5);
    for (int i = 0; i < 3; i++)
        assert_int_equal(nc_embedder_run(x, &texts[i], 1, alone + i * width, NULL, &e), 0);
    assert_memory_equal(alone, together, sizeof *alone * (size_t)n);
    nc_embedder_free(x);
    nc_arena_free(a);
}

/* From the PNG: pixels by Pillow's path differ from the golden's by a level here and there. */
static void pictures_give_the_references_vectors(void **state)
{
    static const char *const cases[][2] = { { "beit", "out.pooled" }, { "dinov2_with_registers", "out.pooled" }, { "siglip2", "out.image_embeds" }, { "clip", "out.image_embeds" } };
    nc_arena *a = nc_arena_new();
    (void)state;
    for (int i = 0; i < NC_COUNT(cases); i++) {
        nc_picture_encoder *x = NULL;
        nc_picture_code code;
        nc_image im = { 0 };
        nc_error e = { 0 };
        int64_t n;
        float *want = golden_values(a, cases[i][0], cases[i][1], &n);
        if (nc_picture_encoder_open(golden(a, cases[i][0], NULL), NC_F32, 1, &x, &e) < 0)
            fail_msg("%s: %s", cases[i][0], e.message);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(nc_image_load(golden(a, cases[i][0], k ? "image2.png" : "image.png"), NULL, &im, &e), 0);
            if (nc_picture_encoder_run(x, &im, &code, &e) < 0)
                fail_msg("%s: %s", cases[i][0], e.message);
            nc_image_free(&im);
            assert_true(largest_difference(code.vector, want + k * code.width, code.width) < 2e-2);
            assert_non_null(code.patch);
            assert_true(code.down * code.across > 0);
        }
        nc_picture_encoder_free(x);
    }
    nc_arena_free(a);
}

/* ---- modules ---- */

static void write_text(nc_arena *a, const char *folder, const char *file, const char *text)
{
    nc_error e = { 0 };
    assert_int_equal(nc_file_write(nc_path_join(a, folder, file), text, strlen(text), &e), 0);
}

static void modules_are_read_and_applied(void **state)
{
    static const char *const files[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" };
    char folder[] = "/tmp/nunchi-modules-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_embedder *x = NULL;
    nc_str text = nc_str_of("A small boat. 작은 배");
    float joined[6 * 256], plain[256];
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < NC_COUNT(files); i++)
        assert_int_equal(nc_file_copy(golden(a, "llama", files[i]), nc_path_join(a, folder, files[i]), &e), 0);
    assert_int_equal(nc_mkdirs(nc_path_join(a, folder, "1_Pooling"), &e), 0);
    write_text(a, folder, "1_Pooling/config.json", "{\"word_embedding_dimension\": 32, \"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": true, \"pooling_mode_lasttoken\": true}");
    write_text(a, folder, "modules.json", "[{\"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}, {\"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}]");
    nc_embed_options o = { .compute = NC_F32, .threads = 1 };
    if (nc_embedder_open(folder, &o, &x, &e) < 0)
        fail_msg("%s", e.message);
    const int width = nc_embedder_width(x) / 3;
    assert_int_equal(nc_embedder_run(x, &text, 1, joined, NULL, &e), 0);
    nc_embedder_free(x);
    static const char *const single[] = { "cls", "mean", "lasttoken" };
    for (int i = 0; i < 3; i++) {                    /* joined in this order */
        o.pooling = single[i];
        assert_int_equal(nc_embedder_open(folder, &o, &x, &e), 0);
        assert_int_equal(nc_embedder_width(x), width);
        assert_int_equal(nc_embedder_run(x, &text, 1, plain, NULL, &e), 0);
        assert_memory_equal(plain, joined + i * width, sizeof *plain * (size_t)width);
        nc_embedder_free(x);
    }
    write_text(a, folder, "modules.json", "[{\"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}, {\"path\": \"2_Normalize\", \"type\": \"sentence_transformers.models.Normalize\"}]");
    o.pooling = NULL;
    assert_int_equal(nc_embedder_open(folder, &o, &x, &e), 0);
    assert_int_equal(nc_embedder_run(x, &text, 1, plain, NULL, &e), 0);
    double length = 0;
    for (int i = 0; i < width; i++)
        length += (double)plain[i] * plain[i];
    assert_true(fabs(length - 1) < 1e-6);
    nc_embedder_free(x);
    write_text(a, folder, "modules.json", "[{\"path\": \"\", \"type\": \"sentence_transformers.models.CNN\"}]");
    assert_int_equal(nc_embedder_open(folder, &o, &x, &e), NC_EUNSUPPORTED);
    assert_non_null(strstr(e.message, "CNN"));
    write_text(a, folder, "modules.json", "[{\"path\": \"../..\", \"type\": \"sentence_transformers.models.Pooling\"}]");
    assert_int_equal(nc_embedder_open(folder, &o, &x, &e), NC_EFORMAT);
    nc_remove_tree(folder, &e);
    nc_arena_free(a);
}

static void pooling_by_hand(void **state)
{
    static const float rows[] = { 1, -4, 3, 2, 5, 0 };           /* three rows of two */
    float out[12];
    static const float want[12] = { 1, -4, 5, 2, 3, -2.0f / 3, 5.1961524f, -1.1547005f, 22.0f / 6, 0, 5, 0 };
    (void)state;
    nc_embed_pool(63, rows, 3, 2, 0, out);
    assert_true(largest_difference(out, want, 12) < 1e-6);
    nc_embed_pool(NC_POOL_CLS | NC_POOL_MEAN | NC_POOL_WEIGHTED, rows, 3, 2, 1, out);    /* the first row is a prompt's */
    static const float skipped[6] = { 3, 2, 4, 1, 21.0f / 5, 4.0f / 5 };
    assert_true(largest_difference(out, skipped, 6) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_has_the_same_bits_alone_and_among_others), cmocka_unit_test(what_a_text_encoder_reads), cmocka_unit_test(folders_are_saved_as_they_came),
        cmocka_unit_test(adapters_attach_to_every_product), cmocka_unit_test(texts_give_the_references_vectors), cmocka_unit_test(pictures_give_the_references_vectors),
        cmocka_unit_test(modules_are_read_and_applied), cmocka_unit_test(pooling_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
