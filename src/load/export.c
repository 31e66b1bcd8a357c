/* export.c - copying, converting and rebuilding model folders. */
#include "load/export.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "load/checkpoint.h"
#include "load/peft.h"

static const char *dtype_word(nc_dtype t)
{
    return t == NC_BF16 ? "bfloat16" : t == NC_F16 ? "float16" : "float32";
}

/* Files of the folder itself and of its module folders (sentence-transformers), weights and config.json left out. */
static int copy_rest(nc_arena *a, const char *from, const char *to, int depth, nc_error *e)
{
    static const char *const kinds[] = { ".json", ".jinja", ".txt", ".model", ".tiktoken", ".py", ".md" };
    char **names;
    int count, status = nc_mkdirs(to, e);
    if (status == 0)
        status = nc_list_dir(a, from, &names, &count, e);
    for (int i = 0; status == 0 && i < count; i++) {
        const char *source = nc_path_join(a, from, names[i]), *target = nc_path_join(a, to, names[i]);
        bool take = false;
        for (int k = 0; k < NC_COUNT(kinds); k++)
            take = take || nc_ends_with(names[i], kinds[k]);
        if (nc_is_dir(source) && depth == 0 && nc_file_exists(nc_path_join(a, source, "config.json")))
            status = copy_rest(a, source, target, 1, e);
        else if (!nc_is_dir(source) && take && !nc_ends_with(names[i], ".safetensors.index.json") && (depth > 0 || strcmp(names[i], "config.json")))
            status = nc_file_copy(source, target, e);
    }
    return status;
}

static int copy_weights(nc_arena *a, const nc_safetensors *s, const char *folder, const char *out, nc_error *e)
{
    const char *index = nc_path_join(a, folder, "model.safetensors.index.json");
    for (int i = 0; i < nc_safetensors_files(s); i++) {
        const char *file = nc_safetensors_file(s, i);
        NC_TRY(nc_file_copy(file, nc_path_join(a, out, nc_path_base(file)), e));
    }
    return nc_file_exists(index) ? nc_file_copy(index, nc_path_join(a, out, nc_path_base(index)), e) : 0;
}

static int write_config(nc_arena *a, const nc_json *config, const char *out, nc_dtype t, nc_error *e)
{
    nc_json *c = nc_json_clone(a, config);
    nc_buf b = { 0 };
    nc_json_set(a, c, nc_json_get(c, "dtype") ? "dtype" : "torch_dtype", nc_json_new_string(a, nc_str_of(dtype_word(t))));
    nc_json_write(&b, c, 2);
    nc_buf_addc(&b, '\n');
    int status = nc_file_write(nc_path_join(a, out, "config.json"), b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

struct conversion { const nc_stored **from; nc_dtype to; };

static bool is_converted(const nc_stored *t) { return t->dtype == NC_F32 || t->dtype == NC_F64 || t->dtype == NC_BF16 || t->dtype == NC_F16; }

static int fill(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    struct conversion *c = context;
    const nc_stored *t = c->from[i];
    const nc_dtype to = is_converted(t) ? c->to : t->dtype;
    const int64_t width = nc_dtype_get(to)->bytes, first = (int64_t)offset / width, count = (int64_t)n / width;
    (void)e;
    if (to == t->dtype)
        memcpy(out, (const char *)t->data + offset, n);
    else
        for (int64_t k = 0; k < count; k++)
            nc_dtype_store(to, out, k, nc_dtype_load(t->dtype, t->data, first + k));
    return 0;
}

/* Every shard again under its name, and an index of its new size where there was one. */
static int convert_weights(nc_arena *a, const nc_safetensors *s, const char *folder, const char *out, nc_dtype to, nc_error *e)
{
    const int total = nc_safetensors_count(s);
    nc_store *stores = NC_NEW_ARRAY(a, nc_store, total + 1);
    struct conversion c = { NC_NEW_ARRAY(a, const nc_stored *, total + 1), to };
    uint64_t bytes = 0;
    for (int shard = 0; shard < nc_safetensors_files(s); shard++) {
        int count = 0;
        for (int i = 0; i < total; i++) {
            const nc_stored *t = nc_safetensors_at(s, i);
            if (t->shard != shard)
                continue;
            c.from[count] = t;
            stores[count++] = (nc_store){ t->name, is_converted(t) ? to : t->dtype, t->shape, NULL };
            bytes += nc_dtype_bytes(is_converted(t) ? to : t->dtype, nc_shape_count(&t->shape));
        }
        NC_TRY(nc_safetensors_write(nc_path_join(a, out, nc_path_base(nc_safetensors_file(s, shard))), stores, count, nc_safetensors_metadata(s), fill, &c, e));
    }
    const char *index = nc_path_join(a, folder, "model.safetensors.index.json");
    if (!nc_file_exists(index))
        return 0;
    nc_json *tree = NULL;
    nc_buf b = { 0 };
    NC_TRY(nc_json_load(a, index, &tree, e));
    nc_json *metadata = (nc_json *)(uintptr_t)nc_json_get(tree, "metadata");
    if (metadata && nc_json_get(metadata, "total_size"))
        nc_json_set(a, metadata, "total_size", nc_json_new_int(a, (int64_t)bytes));
    nc_json_write(&b, tree, 2);
    nc_buf_addc(&b, '\n');
    int status = nc_file_write(nc_path_join(a, out, nc_path_base(index)), b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

/* Through the model: GGUF's names and rows, or an adapter merged. */
static int rebuild(const char *folder, const char *out, const nc_export_options *o, nc_dtype to, nc_error *e)
{
    nc_loaded *l = NULL;
    nc_lora *lora = NULL;
    nc_load_options load = { .weights = { NC_F32, false, o->pool, nc_kernels_best() }, .no_front = true };
    int status = nc_load(folder, &load, &l, e);
    if (status == 0 && o->adapter)
        status = nc_peft_load(l->model, o->adapter, NC_F32, false, &lora, e);
    if (status == 0 && lora)
        status = nc_lora_merge(lora, l->model, &load.weights, e);
    if (status == 0)
        status = nc_model_save(l->model, out, to, o->max_shard_bytes ? o->max_shard_bytes : (uint64_t)5000000000, e);
    if (lora)
        nc_lora_free(lora);
    nc_loaded_free(l);
    return status;
}

static uint64_t written(const char *out)
{
    nc_safetensors *s = NULL;
    nc_error none = { 0 };
    uint64_t bytes = nc_safetensors_open(out, &s, &none) == 0 ? nc_safetensors_bytes(s) : 0;
    nc_safetensors_close(s);
    return bytes;
}

int nc_export_dtype(const char *folder, nc_dtype *out, nc_error *e)
{
    nc_loaded *l = NULL;
    nc_checkpoint *c = NULL;
    NC_TRY(nc_load(folder, &(nc_load_options){ .config_only = true, .no_front = true }, &l, e));
    int status = nc_checkpoint_open(folder, &c, e);
    nc_dtype t = status == 0 ? nc_checkpoint_storage(c, l->model) : NC_DTYPES;
    *out = t == NC_F32 || t == NC_F16 ? t : NC_BF16;
    nc_checkpoint_close(c);
    nc_loaded_free(l);
    return status;
}

static int export(nc_arena *a, const char *folder, const char *out, const nc_export_options *o, nc_error *e)
{
    const char *config = nc_path_join(a, out, "config.json");
    nc_safetensors *s = NULL;
    nc_json *tree = NULL;
    nc_error none = { 0 };
    if (nc_is_dir(out) && nc_file_exists(config) && remove(config))
        return nc_fail(e, NC_EIO, "%s: cannot be replaced", config);
    if (!nc_is_dir(folder)) {                            /* a GGUF file alone */
        nc_dtype to = o->dtype;
        if (to == NC_DTYPES)
            NC_TRY(nc_export_dtype(folder, &to, e));
        return rebuild(folder, out, o, to, e);
    }
    NC_TRY(nc_json_load(a, nc_path_join(a, folder, "config.json"), &tree, e));
    NC_TRY(copy_rest(a, folder, out, 0, e));
    int status = nc_safetensors_open(folder, &s, &none);
    if (status < 0 && status != NC_ENOTFOUND) {
        *e = none;
        return status;
    }
    if (s && !o->adapter) {
        status = o->dtype == NC_DTYPES ? copy_weights(a, s, folder, out, e) : convert_weights(a, s, folder, out, o->dtype, e);
        nc_safetensors_close(s);
        if (status < 0)
            return status;
        return o->dtype == NC_DTYPES ? nc_file_copy(nc_path_join(a, folder, "config.json"), config, e) : write_config(a, tree, out, o->dtype, e);
    }
    nc_safetensors_close(s);
    nc_dtype to = o->dtype;
    if (to == NC_DTYPES)
        NC_TRY(nc_export_dtype(folder, &to, e));
    NC_TRY(rebuild(folder, out, o, to, e));
    const nc_json *said = nc_json_get(tree, "dtype") ? nc_json_get(tree, "dtype") : nc_json_get(tree, "torch_dtype");
    return strcmp(nc_json_string(said, ""), dtype_word(to)) ? 0 : nc_file_copy(nc_path_join(a, folder, "config.json"), config, e);   /* nothing to change in it */
}

int nc_export_hf(const char *folder, const char *out, const nc_export_options *o, uint64_t *bytes, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    const char *from = NULL;
    nc_error spare = { 0 };
    e = e ? e : &spare;
    int status = nc_load_resolve(a, folder, &from, e);
    if (status == 0) {
        char *one = realpath(from, NULL), *two = realpath(out, NULL);
        if (one && two && !strcmp(one, two))
            status = nc_fail(e, NC_EINVAL, "%s: --out is the folder itself; give another", out);
        free(one);
        free(two);
    }
    if (status == 0)
        status = export(a, from, out, o, e);
    if (status == 0 && bytes)
        *bytes = written(out);
    nc_arena_free(a);
    return status;
}
