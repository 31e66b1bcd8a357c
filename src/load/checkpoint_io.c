/* checkpoint_io.c - a model's sites from and to safetensors files: names, shapes, what is missing, what nobody asked for. */
#include <stdlib.h>

#include "base/file.h"
#include "load/weights.h"

/* The tensor of a site: under its own name, or with one of the family's renamed prefixes. */
static const nc_stored *find_tensor(const nc_model *m, const nc_site *s, const nc_safetensors *file)
{
    const nc_stored *t = nc_safetensors_find(file, s->name);
    for (const char *const *r = m->family->renames; !t && r && r[0]; r += 2)
        if (nc_starts_with(s->name, r[1])) {
            nc_buf name = { 0 };
            nc_buf_printf(&name, "%s%s", r[0], s->name + strlen(r[1]));
            t = nc_safetensors_find(file, name.p);
            nc_buf_free(&name);
        }
    return t;
}

static int check_shape(const nc_site *s, const nc_stored *t, nc_error *e)
{
    char want[96], have[96];
    if (nc_shape_equal(&s->file_shape, &t->shape))
        return 0;
    if (nc_shape_count(&s->file_shape) == 1 && nc_shape_count(&t->shape) == 1)
        return 0;
    return nc_fail(e, NC_ESHAPE, "tensor %s has shape %s, config.json makes it %s; is this the right config?", t->name, nc_shape_str(&t->shape, have),
                   nc_shape_str(&s->file_shape, want));
}

static bool is_ignored(const nc_model *m, const char *name)
{
    for (const char *const *p = m->family->ignored; p && *p; p++)
        if (nc_glob(*p, name))
            return true;
    return false;
}

/* A tensor nobody read: silent when the family ignores it, refused when it lies under a module the model lists, else one warning. */
static int report_unread(const nc_model *m, const nc_stored *t, nc_buf *warn, nc_error *e)
{
    if (is_ignored(m, t->name))
        return 0;
    const char *dot = strrchr(t->name, '.');
    for (int i = 0; dot && i < m->site_count; i++) {
        const char *name = m->sites[i]->file_name;
        if (name && !strncmp(name, t->name, (size_t)(dot - t->name) + 1) && !strchr(name + (dot - t->name) + 1, '.'))
            return nc_fail(e, NC_EFORMAT, "tensor %s is not part of this family, though its module %.*s is; the checkpoint is of another kind", t->name,
                           (int)(dot - t->name), t->name);
    }
    if (warn)
        nc_buf_printf(warn, "tensor %s was not used\n", t->name);
    return 0;
}

static int load_site(nc_model *m, nc_site *s, const nc_safetensors *file, bool *read, const nc_weights_options *o, nc_error *e)
{
    const nc_stored *t = find_tensor(m, s, file);
    if (!t && (s->flags & NC_SITE_OPTIONAL))
        return 0;
    if (!t)
        return nc_fail(e, NC_ENOTFOUND, "%s: tensor %s is missing", nc_safetensors_file(file, 0), s->name);
    NC_TRY(check_shape(s, t, e));
    s->file_name = nc_arena_strdup(m->arena, t->name);
    for (int i = 0; i < nc_safetensors_count(file); i++)
        if (nc_safetensors_at(file, i) == t)
            read[i] = true;
    int status = nc_site_fill(m, s, t->dtype, t->data, s->flags & NC_SITE_TRANSPOSED, o, e);
    if (status == 0 && t->bytes >= 1 << 20)
        nc_safetensors_advise(file, t->data, t->bytes, NC_ADVISE_DROP);
    return status;
}

int nc_weights_load(nc_model *m, const nc_safetensors *file, const nc_weights_options *o, nc_buf *warn, nc_error *e)
{
    bool *read = nc_xcalloc((size_t)nc_safetensors_count(file) + 1, sizeof *read);
    int status = 0;
    for (int i = 0; i < m->site_count && status == 0; i++)
        status = load_site(m, m->sites[i], file, read, o, e);
    for (int i = 0; i < nc_safetensors_count(file) && status == 0; i++)
        if (!read[i])
            status = report_unread(m, nc_safetensors_at(file, i), warn, e);
    free(read);
    return status;
}

struct save { const nc_model *m; nc_dtype dtype; void *piece; int held; };

/* Pieces are asked for in order; a site is read whole once, into a buffer that serves its pieces. */
static int fill_piece(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    struct save *s = context;
    const nc_site *site = s->m->sites[i];
    if (s->held != i) {
        free(s->piece);
        s->piece = nc_xmalloc(nc_dtype_bytes(s->dtype, nc_site_count(site)) + 64);
        s->held = i;
        NC_TRY(nc_site_read(site, s->dtype, s->piece, e));
    }
    memcpy(out, (const char *)s->piece + offset, n);
    return 0;
}

static int write_config(const nc_model *m, const char *folder, nc_dtype t, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_json *config = nc_json_clone(a, m->config);
    const char *name = t == NC_BF16 ? "bfloat16" : t == NC_F16 ? "float16" : "float32";
    nc_json_set(a, config, nc_json_get(config, "dtype") ? "dtype" : "torch_dtype", nc_json_new_string(a, nc_str_of(name)));
    if (!nc_json_get(config, "architectures")) {
        nc_json *list = nc_json_new(a, NC_JSON_ARRAY);
        size_t first = strcspn(m->family->architectures, " ");
        nc_json_append(list, nc_json_new_string(a, (nc_str){ m->family->architectures, first }));
        nc_json_set(a, config, "architectures", list);
    }
    nc_buf b = { 0 };
    nc_json_write(&b, config, 2);
    nc_buf_addc(&b, '\n');
    int status = nc_file_write(nc_path_join(a, folder, "config.json"), b.p, b.n, e);
    nc_buf_free(&b);
    nc_arena_free(a);
    return status;
}

int nc_model_save(const nc_model *m, const char *folder, nc_dtype t, uint64_t max_shard_bytes, nc_error *e)
{
    NC_TRY(nc_mkdirs(folder, e));
    nc_store *stores = nc_xcalloc((size_t)m->site_count + 1, sizeof *stores);
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *s = m->sites[i];
        stores[i] = (nc_store){ s->file_name ? s->file_name : s->name, t, s->file_shape, NULL };
    }
    struct save save = { .m = m, .dtype = t, .held = -1 };
    int status = nc_safetensors_write_folder(folder, "model", stores, m->site_count, NULL, max_shard_bytes, fill_piece, &save, e);
    free(save.piece);
    free(stores);
    return status < 0 ? status : write_config(m, folder, t, e);
}
