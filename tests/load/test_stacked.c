/* test_stacked.c - experts as transformers 5 stacks them: such a folder loads to the same weights as the one with a tensor for each, and is saved as it came, byte for
 * byte; so are tensors that only belong to the checkpoint (heads for further tokens). Stacks of another number or shape are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "load/checkpoint.h"
#include "load/load.h"

enum { MOST = 256 };
static const char *folder_of(nc_arena *a, const char *what) { return nc_arena_printf(a, "/tmp/nunchi-stacked-%d/%s", (int)getpid(), what); }

static nc_loaded *load(const char *folder)
{
    nc_error e = { 0 };
    nc_loaded *l = NULL;
    nc_load_options o = { .weights = { .compute = NC_F32, .kernels = nc_kernels_best() }, .no_front = true };
    if (nc_load(folder, &o, &l, &e) < 0)
        fail_msg("%s", e.message);
    return l;
}

/* Writes the model's weights with experts stacked, `entries_off` fewer or more of them, and some tensors of no site. */
static void write_stacked(nc_arena *a, const nc_model *m, const nc_json *config, const char *folder, int entries_off, const char *const *extra)
{
    nc_error e = { 0 };
    nc_store stores[MOST];
    int count = 0;
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *s = m->sites[i];
        nc_buf name = { 0 };
        nc_stacked at;
        bool stacked = nc_stack_of(m, s->name, &name, &at);
        const char *own = stacked ? nc_arena_strdup(a, name.p) : s->name;
        size_t bytes = nc_dtype_bytes(NC_F32, nc_site_count(s));
        nc_buf_free(&name);
        int k = 0;
        while (k < count && strcmp(stores[k].name, own))
            k++;
        assert_true(k < MOST);
        if (k == count && stacked) {
            int experts = 1;
            while (nc_stack_reaches(m, s->name, experts))
                experts++;
            experts += entries_off;
            stores[count++] = (nc_store){ own, NC_F32, NC_SHAPE(experts, s->shape.dim[0] * at.parts, s->shape.dim[1]), nc_arena_alloc(a, bytes * (size_t)(experts * at.parts)) };
            memset((void *)(uintptr_t)stores[k].data, 0, bytes * (size_t)(experts * at.parts));
        } else if (k == count) {
            stores[count++] = (nc_store){ own, NC_F32, s->file_shape, s->value.data };
        }
        if (stacked && at.index < stores[k].shape.dim[0])
            memcpy((char *)(uintptr_t)stores[k].data + bytes * (size_t)(at.index * at.parts + at.part), s->value.data, bytes);
    }
    for (int i = 0; extra && extra[i]; i++)
        stores[count++] = (nc_store){ extra[i], NC_F8_E4M3, NC_SHAPE(3, 5), "any fifteen byte" };
    nc_buf text = { 0 };
    nc_json_write(&text, config, 1);
    if (nc_mkdirs(folder, &e) < 0 || nc_safetensors_write(nc_path_join(a, folder, "model.safetensors"), stores, count, NULL, NULL, NULL, &e) < 0 ||
        nc_file_write(nc_path_join(a, folder, "config.json"), text.p, text.n, &e) < 0)
        fail_msg("%s", e.message);
    nc_buf_free(&text);
}

static void assert_same_tensors(const char *one, const char *other)
{
    nc_safetensors *a = NULL, *b = NULL;
    nc_error e = { 0 };
    assert_int_equal(nc_safetensors_open(one, &a, &e), 0);
    assert_int_equal(nc_safetensors_open(other, &b, &e), 0);
    assert_int_equal(nc_safetensors_count(a), nc_safetensors_count(b));
    for (int i = 0; i < nc_safetensors_count(a); i++) {
        const nc_stored *s = nc_safetensors_at(a, i), *t = nc_safetensors_find(b, s->name);
        if (!t || t->dtype != s->dtype || !nc_shape_equal(&s->shape, &t->shape) || memcmp(s->data, t->data, s->bytes))
            fail_msg("tensor %s is not saved as it came", s->name);
    }
    nc_safetensors_close(a);
    nc_safetensors_close(b);
}

static nc_json *config_of(nc_arena *a, const nc_loaded *l, int predictors)
{
    nc_json *config = nc_json_clone(a, l->model->config);
    if (predictors)
        nc_json_set(a, config, "num_nextn_predict_layers", nc_json_new_int(a, predictors));
    return config;
}

static void round_trip(const char *name, const char *stack, int predictors, const char *const *extra)
{
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_loaded *l = load(nc_arena_printf(a, "tests/golden/models/%s", name));
    const char *stacked = folder_of(a, "in"), *out = folder_of(a, "out");
    write_stacked(a, l->model, config_of(a, l, predictors), stacked, 0, extra);
    nc_safetensors *s = NULL;
    assert_int_equal(nc_safetensors_open(stacked, &s, &e), 0);
    assert_non_null(nc_safetensors_find(s, stack));
    nc_safetensors_close(s);
    nc_loaded *k = load(stacked);
    assert_int_equal(k->model->site_count, l->model->site_count);
    for (int i = 0; i < k->model->site_count; i++)
        if (memcmp(k->model->sites[i]->value.data, l->model->sites[i]->value.data, nc_dtype_bytes(NC_F32, nc_site_count(l->model->sites[i]))))
            fail_msg("%s: %s has another value in the stack", name, k->model->sites[i]->name);
    if (nc_model_save(k->model, out, NC_F32, 0, &e) < 0)
        fail_msg("%s", e.message);
    assert_same_tensors(stacked, out);
    nc_loaded_free(k);
    nc_loaded_free(l);
    nc_remove_tree(folder_of(a, ""), &e);
    nc_arena_free(a);
}

static void test_families(void **state)
{
    (void)state;
    round_trip("mixtral", "model.layers.1.mlp.experts.gate_up_proj", 0, NULL);
    round_trip("qwen2_moe", "model.layers.0.mlp.experts.down_proj", 0, NULL);
    round_trip("qwen3_next", "model.layers.3.mlp.experts.gate_up_proj", 0, (const char *const[]){ "mtp.fc.weight", "mtp.layers.0.self_attn.q_proj.weight", NULL });
    round_trip("deepseek_v2", "model.layers.1.mlp.experts.gate_up_proj", 2,
               (const char *const[]){ "model.layers.2.eh_proj.weight", "model.layers.3.mlp.experts.0.up_proj.weight", "model.layers.2.shared_head.head.weight", NULL });
}

static void test_refused(void **state)
{
    (void)state;
    for (int off = -1; off <= 1; off += 2) {
        nc_arena *a = nc_arena_new();
        nc_error e = { 0 };
        nc_loaded *l = load("tests/golden/models/qwen2_moe"), *k = NULL;
        write_stacked(a, l->model, config_of(a, l, 0), folder_of(a, "in"), off, NULL);
        nc_load_options o = { .weights = { .compute = NC_F32, .kernels = nc_kernels_best() }, .no_front = true };
        assert_int_equal(nc_load(folder_of(a, "in"), &o, &k, &e), NC_ESHAPE);
        assert_non_null(strstr(e.message, "entries"));
        nc_loaded_free(l);
        nc_remove_tree(folder_of(a, ""), &e);
        nc_arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_families), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
