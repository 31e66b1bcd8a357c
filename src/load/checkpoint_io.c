/* checkpoint_io.c - a model's sites to safetensors files, under the names they came from. Reading is load/checkpoint.c and load/fill.c. */
#include <stdlib.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "load/weights.h"

/* One tensor of the file: one site, or all that are stacked in it, one after the other; or bytes that are kept (store's data). */
struct item { const nc_site **sites; int count; };
struct save { nc_arena *arena; nc_store *stores; struct item *items; int count; nc_dtype dtype; void *piece; const nc_site *held; };

static nc_dtype saved_as(const nc_site *s, nc_dtype t) { return s->flags & NC_SITE_INTEGER ? NC_I64 : t; }

/* Pieces are asked for in order; a site is read whole once, into a buffer that serves its pieces. */
static int fill_piece(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    struct save *s = context;
    const struct item *item = &s->items[i];
    const size_t each = nc_dtype_bytes(saved_as(item->sites[0], s->dtype), nc_site_count(item->sites[0]));
    while (n) {
        const nc_site *site = item->sites[offset / each];
        const size_t at = offset % each, some = each - at < n ? each - at : n;
        if (s->held != site) {
            free(s->piece);
            s->piece = nc_xmalloc(each + 64);
            s->held = site;
            NC_TRY(nc_site_read(site, saved_as(site, s->dtype), s->piece, e));
        }
        memcpy(out, (const char *)s->piece + at, some);
        out = (char *)out + some;
        offset += some;
        n -= some;
    }
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

/* The item of a stacked tensor, made when its first site comes. */
static struct item *stack_item(struct save *s, const nc_site *site)
{
    const nc_stacked *k = &site->stacked;
    for (int i = s->count - 1; i >= 0; i--)
        if (!strcmp(s->stores[i].name, site->file_name))
            return &s->items[i];
    int n = k->count * k->parts;
    s->stores[s->count] = (nc_store){ site->file_name, s->dtype, NC_SHAPE(k->count, site->file_shape.dim[0] * k->parts, site->file_shape.dim[1]), NULL };
    s->items[s->count] = (struct item){ NC_NEW_ARRAY(s->arena, const nc_site *, n), n };
    return &s->items[s->count++];
}

static int list_sites(struct save *s, const nc_model *m, nc_error *e)
{
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *site = m->sites[i];
        if (!nc_site_is_there(site) && !site->trainable)
            continue;
        if (site->stacked.parts) {
            stack_item(s, site)->sites[site->stacked.index * site->stacked.parts + site->stacked.part] = site;
            continue;
        }
        s->items[s->count] = (struct item){ nc_arena_copy(s->arena, &site, sizeof site), 1 };
        s->stores[s->count++] = (nc_store){ site->file_name ? site->file_name : site->name, saved_as(site, s->dtype), site->file_shape, NULL };
    }
    for (int i = 0; i < s->count; i++)
        for (int k = 0; k < s->items[i].count; k++)
            if (!s->items[i].sites[k])
                return nc_fail(e, NC_EFORMAT, "tensor %s cannot be written: entry %d of %d has no weight", s->stores[i].name, k, s->items[i].count);
    return 0;
}

/* Tensors of the folder the weights came from that no site reads but the model keeps; *files is the caller's to close. */
static int list_kept(struct save *s, const nc_model *m, nc_safetensors **files, nc_error *e)
{
    if (!m->kept || !m->source)
        return 0;
    int status = nc_safetensors_open(m->source, files, e);
    if (status == NC_ENOTFOUND)                          /* from GGUF: such tensors were left behind */
        return 0;
    if (status < 0)
        return status;
    const int total = nc_safetensors_count(*files);
    nc_store *stores = nc_xcalloc((size_t)(s->count + total) + 1, sizeof *stores);
    memcpy(stores, s->stores, sizeof *stores * (size_t)s->count);
    free(s->stores);
    s->stores = stores;
    for (int i = 0; i < total; i++) {
        const nc_stored *t = nc_safetensors_at(*files, i);
        for (const char *const *p = m->kept; *p; p++)
            if (nc_glob(*p, t->name)) {
                s->stores[s->count++] = (nc_store){ t->name, t->dtype, t->shape, t->data };
                break;
            }
    }
    return 0;
}

int nc_model_save(const nc_model *m, const char *folder, nc_dtype t, uint64_t max_shard_bytes, nc_error *e)
{
    NC_TRY(nc_mkdirs(folder, e));
    nc_arena *a = nc_arena_new();
    struct save s = { .arena = a, .stores = nc_xcalloc((size_t)m->site_count + 1, sizeof *s.stores), .items = NC_NEW_ARRAY(a, struct item, m->site_count + 1), .dtype = t };
    nc_safetensors *files = NULL;
    int status = list_sites(&s, m, e);
    if (status == 0)
        status = list_kept(&s, m, &files, e);
    if (status == 0)
        status = nc_safetensors_write_folder(folder, "model", s.stores, s.count, NULL, max_shard_bytes, fill_piece, &s, e);
    nc_safetensors_close(files);
    free(s.piece);
    free(s.stores);
    nc_arena_free(a);
    return status < 0 ? status : write_config(m, folder, t, e);
}
