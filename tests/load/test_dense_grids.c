/* test_dense_grids.c - nets over dense grids: a picture's outputs have the same bits alone, in a batch, and for any number of threads, in f32 and bf16; a folder that is
 * loaded and saved keeps every tensor, counters included; batch norm's buffers move in training alone. */
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
#include "base/rng.h"
#include "load/load.h"

static const char *const folders[] = { "regnet", "efficientnet", "segformer", "swinv2", "detr" };
enum { SIDE = 40 };

static nc_loaded *loaded(const char *name, nc_dtype compute, bool train, nc_pool *pool)
{
    static const char *const all[] = { "*", NULL };
    char path[128];
    nc_loaded *l;
    nc_error e = { 0 };
    snprintf(path, sizeof path, "tests/golden/models/%s", name);
    nc_load_options o = { .weights = { compute, !train, pool, nc_kernels_best() }, .train = train ? all : NULL, .no_front = true };
    if (nc_load(path, &o, &l, &e) < 0)
        fail_msg("%s: %s", name, e.message);
    return l;
}

typedef struct output { float *values; int64_t count; } output;

/* The named output of `count` random pictures, the first of them number `first`. */
static output run(nc_loaded *l, nc_dtype compute, int first, int count, nc_pool *pool)
{
    nc_pixels pixels[4];
    nc_media media[4];
    nc_seq seq[4];
    nc_error e = { 0 };
    nc_batch *batch = nc_batch_new();
    nc_model *m = l->model;
    for (int i = 0; i < count; i++) {
        nc_rng r = nc_rng_new(77, (uint64_t)(first + i));
        float *data = malloc(sizeof(float) * 3 * SIDE * SIDE);
        for (int k = 0; k < 3 * SIDE * SIDE; k++)
            data[k] = (float)nc_rng_normal(&r);
        pixels[i] = (nc_pixels){ .data = data, 3, SIDE, SIDE };
        media[i] = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = &pixels[i], .count = 1 };
        seq[i] = (nc_seq){ .slot = -1, .media = &media[i], .media_count = 1 };
    }
    if (nc_model_prepare(m, batch, seq, count, &e) < 0)
        fail_msg("%s", e.message);
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = compute, .picture_height = SIDE, .picture_width = SIDE });
    nc_build *b = nc_program_build(p);
    nc_encoded x = { 0 };
    nc_build_capacities(b, batch);
    m->family->encode(m, m->self, b, NC_PICTURES, &x);
    nc_build_keep(b, x.logits, "logits");
    if (nc_program_finish(p, NULL, 3, &e) < 0 || nc_program_allocate(p, NULL, &e) < 0 || nc_program_run(p, batch, &(nc_run_options){ .pool = pool, .kernels = nc_kernels_best() }, &e) < 0)
        fail_msg("%s: %s", m->family->name, e.message);
    const nc_value *v = nc_program_value(p, "logits");
    output out = { NULL, nc_shape_count(&v->shape) };
    out.values = malloc(sizeof(float) * (size_t)out.count);
    for (int64_t i = 0; i < out.count; i++)
        out.values[i] = (float)nc_dtype_load(v->dtype, v->data, i);
    for (int i = 0; i < count; i++)
        free((void *)(uintptr_t)pixels[i].data);
    nc_program_free(p);
    nc_batch_free(batch);
    return out;
}

static void alone_or_together(void **state)
{
    nc_pool *one = nc_pool_new(1), *three = nc_pool_new(3);
    (void)state;
    for (int f = 0; f < NC_COUNT(folders); f++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            nc_dtype t = bf16 ? NC_BF16 : NC_F32;
            nc_loaded *l = loaded(folders[f], t, false, one);
            output all = run(l, t, 0, 3, three);
            for (int i = 0; i < 3; i++) {
                output own = run(l, t, i, 1, one);
                assert_int_equal(3 * own.count, all.count);
                for (int64_t k = 0; k < own.count; k++) {
                    assert_true(isfinite(own.values[k]));
                    if (memcmp(&own.values[k], &all.values[i * own.count + k], 4))
                        fail_msg("%s, %s: picture %d, value %lld is %.9g alone and %.9g in a batch", folders[f], nc_dtype_name(t), i, (long long)k, (double)own.values[k],
                                 (double)all.values[i * own.count + k]);
                }
                free(own.values);
            }
            free(all.values);
            nc_loaded_free(l);
        }
    nc_pool_free(one);
    nc_pool_free(three);
}

static void saved_as_loaded(void **state)
{
    nc_pool *pool = nc_pool_new(2);
    (void)state;
    for (int f = 0; f < NC_COUNT(folders); f++) {
        char folder[] = "/tmp/nunchi-grids-XXXXXX", path[128];
        nc_safetensors *before, *after;
        nc_error e = { 0 };
        nc_loaded *l = loaded(folders[f], NC_F32, false, pool);
        assert_non_null(mkdtemp(folder));
        assert_int_equal(nc_model_save(l->model, folder, NC_F32, 1 << 30, &e), 0);
        snprintf(path, sizeof path, "tests/golden/models/%s/model.safetensors", folders[f]);
        assert_int_equal(nc_safetensors_open(path, &before, &e), 0);
        snprintf(path, sizeof path, "%s/model.safetensors", folder);
        assert_int_equal(nc_safetensors_open(path, &after, &e), 0);
        for (int i = 0; i < nc_safetensors_count(before); i++) {
            const nc_stored *want = nc_safetensors_at(before, i), *got = nc_safetensors_find(after, want->name);
            if (!got || got->dtype != want->dtype || !nc_shape_equal(&got->shape, &want->shape) || memcmp(got->data, want->data, want->bytes))
                fail_msg("%s: %s is not saved as it was", folders[f], want->name);
        }
        assert_int_equal(nc_safetensors_count(after), nc_safetensors_count(before));
        nc_safetensors_close(before);
        nc_safetensors_close(after);
        nc_loaded_free(l);
        nc_remove_tree(folder, &e);
    }
    nc_pool_free(pool);
}

/* Runs that do not train, and trained ones with frozen statistics, leave the buffers alone. */
static void buffers_move_in_training_alone(void **state)
{
    static const struct { bool train, frozen, moves; } ways[] = { { false, false, false }, { true, true, false }, { true, false, true } };
    nc_pool *pool = nc_pool_new(2);
    (void)state;
    for (int w = 0; w < NC_COUNT(ways); w++) {
        nc_loaded *l = loaded("regnet", NC_F32, true, pool);
        nc_model *m = l->model;
        nc_error e = { 0 };
        float data[2][3 * SIDE * SIDE];
        int32_t labels[] = { 1, 3 };
        nc_pixels pixels[2];
        nc_media media[2];
        nc_seq seq[2];
        nc_rng r = nc_rng_new(5, 5);
        for (int i = 0; i < 2; i++) {
            for (int k = 0; k < 3 * SIDE * SIDE; k++)
                data[i][k] = (float)nc_rng_normal(&r);
            pixels[i] = (nc_pixels){ .data = data[i], 3, SIDE, SIDE };
            media[i] = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = &pixels[i], .count = 1 };
            seq[i] = (nc_seq){ .slot = -1, .media = &media[i], .media_count = 1 };
        }
        nc_site *mean = nc_model_site(m, "regnet.embedder.embedder.normalization.running_mean"), *batches = nc_model_site(m, "regnet.embedder.embedder.normalization.num_batches_tracked");
        assert_true(mean && batches && !mean->trainable && !mean->grad);
        float before = ((float *)mean->value.data)[0], counted = ((float *)batches->value.data)[0];
        nc_batch *batch = nc_batch_new();
        assert_int_equal(nc_model_prepare(m, batch, seq, 2, &e), 0);
        nc_batch_labels(batch, "labels", "label.weights", labels, 2);
        nc_program *p = nc_program_new(&(nc_program_options){ .compute = NC_F32, .training = ways[w].train, .frozen = ways[w].frozen, .recompute = w == 2, .picture_height = SIDE, .picture_width = SIDE });
        nc_build *b = nc_program_build(p);
        nc_build_capacities(b, batch);
        assert_int_equal(nc_program_finish(p, nc_model_loss(m, b), 2, &e), 0);
        assert_int_equal(nc_program_allocate(p, NULL, &e), 0);
        assert_int_equal(nc_program_run(p, batch, &(nc_run_options){ .pool = pool, .kernels = nc_kernels_best(), .training = true }, &e), 0);
        assert_int_equal(((float *)mean->value.data)[0] != before, ways[w].moves);
        assert_int_equal((int)(((float *)batches->value.data)[0] - counted), ways[w].moves);
        nc_program_free(p);
        nc_batch_free(batch);
        nc_loaded_free(l);
    }
    nc_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(alone_or_together), cmocka_unit_test(saved_as_loaded), cmocka_unit_test(buffers_move_in_training_alone) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
