/* checkpoint_io.c - a model's sites to safetensors files, under the names they came from. Reading is load/checkpoint.c and load/fill.c. */
#include <stdlib.h>

#include "base/file.h"
#include "formats/safetensors.h"
#include "load/weights.h"

struct save { const nc_site **sites; nc_dtype dtype; void *piece; int held; };

/* Pieces are asked for in order; a site is read whole once, into a buffer that serves its pieces. */
static int fill_piece(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    struct save *s = context;
    const nc_site *site = s->sites[i];
    if (s->held != i) {
        free(s->piece);
        nc_dtype t = site->flags & NC_SITE_INTEGER ? NC_I64 : s->dtype;
        s->piece = nc_xmalloc(nc_dtype_bytes(t, nc_site_count(site)) + 64);
        s->held = i;
        NC_TRY(nc_site_read(site, t, s->piece, e));
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
    struct save save = { .sites = nc_xcalloc((size_t)m->site_count + 1, sizeof *save.sites), .dtype = t, .held = -1 };
    int count = 0;
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *s = m->sites[i];
        if (!nc_site_is_there(s) && !s->trainable)
            continue;
        save.sites[count] = s;
        stores[count++] = (nc_store){ s->file_name ? s->file_name : s->name, s->flags & NC_SITE_INTEGER ? NC_I64 : t, s->file_shape, NULL };
    }
    int status = nc_safetensors_write_folder(folder, "model", stores, count, NULL, max_shard_bytes, fill_piece, &save, e);
    free(save.piece);
    free(save.sites);
    free(stores);
    return status < 0 ? status : write_config(m, folder, t, e);
}
