/* quantize.c - sites to GGUF tensors, a piece at a time. */
#include "quant/quantize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/ggml_blocks.h"
#include "load/gguf_names.h"
#include "quant/gguf_meta.h"

struct entry { const nc_site *site; nc_gguf_name place; };
struct file { const char *name; nc_store *store; struct entry *entry; int count; nc_gguf_meta *meta; };

struct job {
    nc_loaded *l;
    const nc_quantize_options *o;
    struct file *file;               /* being written */
    double square, error;            /* sums over products' weights */
    nc_quantize_report report;
};

/* The type a site is written in. */
static nc_dtype type_of(const nc_site *s, nc_dtype to)
{
    nc_dtype wide = to == NC_F16 || to == NC_F32 ? to : NC_BF16;
    if (s->shape.rank < 2 || s->shape.dim[0] == 1 || s->file_shape.rank > 2)
        return NC_F32;
    if (!(s->flags & NC_SITE_LINEAR))
        return wide;
    return nc_shape_last(&s->shape) % nc_dtype_get(to)->block ? wide : to;
}

/* The stored values against the ones they stand for. */
static int measure(struct job *j, nc_dtype type, const float *from, const void *stored, int64_t n, nc_error *e)
{
    float back[1024];
    for (int64_t at = 0; at < n; at += NC_COUNT(back)) {
        int64_t part = n - at < NC_COUNT(back) ? n - at : NC_COUNT(back);
        NC_TRY(nc_ggml_dequantize(type, (const char *)stored + nc_dtype_bytes(type, at), part, back, e));
        for (int64_t i = 0; i < part; i++) {
            double v = from[at + i], d = v - (double)back[i];
            j->square += v * v;
            j->error += d * d;
        }
    }
    return 0;
}

static int fill(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    struct job *j = context;
    const struct file *f = j->file;
    const struct entry *entry = &f->entry[i];
    const nc_site *s = entry->site;
    const nc_dtype type = f->store[i].dtype;
    const nc_dtype_info *info = nc_dtype_get(type);
    int64_t at = (int64_t)(offset / (uint64_t)info->bytes) * info->block, count = (int64_t)(n / (size_t)info->bytes) * info->block;
    int64_t total = nc_site_count(s), rows = s->shape.rank > 1 ? s->shape.dim[0] : total, columns = total / rows;
    if (offset == 0 && j->o->progress)
        j->o->progress(j->o->context, f->name, i, f->count);
    while (count > 0) {
        int64_t row = at / columns, column = at % columns, run = columns - column < count ? columns - column : count;
        const float *from = (const float *)s->value.data + nc_gguf_site_row(entry->place.rotary, row) * columns + column;
        int status = nc_ggml_quantize(type, from, run, out, e);
        if (status < 0)
            return nc_fail_in(e, "%s", s->name);
        if (s->flags & NC_SITE_LINEAR)
            NC_TRY(measure(j, type, from, out, run, e));
        out = (char *)out + nc_dtype_bytes(type, run);
        at += run;
        count -= run;
    }
    return 0;
}

static int list_sites(struct job *j, nc_arena *a, struct file f[2], nc_error *e)
{
    const nc_model *m = j->l->model;
    for (int k = 0; k < 2; k++) {
        f[k].store = NC_NEW_ARRAY(a, nc_store, m->site_count + 2);
        f[k].entry = NC_NEW_ARRAY(a, struct entry, m->site_count + 2);
        f[k].meta = nc_gguf_meta_new();
    }
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *s = m->sites[i];
        nc_gguf_name p;
        NC_TRY(nc_gguf_name_of(m, s, &p, e));
        struct file *to = &f[p.mmproj];
        nc_dtype type = type_of(s, j->o->to);
        nc_shape shape = s->file_shape.rank > 2 || s->shape.rank < 2 || s->shape.dim[0] == 1 ? s->file_shape : s->shape;
        to->entry[to->count] = (struct entry){ s, p };
        to->store[to->count++] = (nc_store){ nc_arena_strdup(a, p.name), type, shape, NULL };
        j->report.values += (uint64_t)nc_site_count(s);
        j->report.quantized += type == j->o->to ? (uint64_t)nc_site_count(s) : 0;
        j->report.bytes_after += nc_dtype_bytes(type, nc_site_count(s));
    }
    return 0;
}

static int write_files(struct job *j, nc_arena *a, const char *out, struct file f[2], nc_error *e)
{
    int factors = 0;
    float *rope = nc_gguf_rope_factors(a, j->l->model, &factors);
    if (rope)
        f[0].store[f[0].count++] = (nc_store){ "rope_freqs.weight", NC_F32, NC_SHAPE(factors), rope };
    NC_TRY(nc_gguf_meta_decoder(f[0].meta, j->l, j->o->to, e));
    NC_TRY(nc_gguf_meta_tokenizer(f[0].meta, j->l, e));
    if (f[1].count)
        nc_gguf_meta_tower(f[1].meta, j->l, j->o->to);
    for (int k = 0; k < 2; k++) {
        const char *path = nc_path_join(a, out, f[k].name);
        j->file = &f[k];
        if (f[k].count)
            NC_TRY(nc_gguf_write(path, f[k].meta, f[k].store, f[k].count, fill, j, e));
    }
    return 0;
}

static int prepare_folder(nc_arena *a, const char *folder, const char *out, nc_error *e)
{
    static const char *const weights[] = { "model.safetensors", "model.safetensors.index.json" };
    for (int i = 0; i < NC_COUNT(weights); i++)
        if (nc_file_exists(nc_path_join(a, out, weights[i])))
            return nc_fail(e, NC_EINVAL, "%s: this folder already holds a model's %s; give another --out", out, weights[i]);
    NC_TRY(nc_mkdirs(out, e));
    const char *config = nc_path_join(a, out, "config.json");
    if (nc_file_exists(config) && remove(config))
        return nc_fail(e, NC_EIO, "%s: cannot be replaced", config);
    return nc_copy_front_files(folder, out, e);
}

static int quantize(struct job *j, nc_arena *a, const char *folder, const char *out, nc_error *e)
{
    struct file f[2] = { { .name = "model.gguf" }, { .name = "mmproj.gguf" } };
    nc_load_options load = { .weights = { NC_F32, false, j->o->pool, nc_kernels_best() } };
    NC_TRY(nc_load(folder, &load, &j->l, e));
    int64_t before = 0;
    nc_safetensors *s = NULL;
    nc_error none = { 0 };
    if (nc_safetensors_open(j->l->folder, &s, &none) == 0)
        before = (int64_t)nc_safetensors_bytes(s);
    else
        for (int i = 0; i < NC_COUNT(f); i++) {
            const char *path = nc_path_join(a, j->l->folder, f[i].name);
            before += nc_file_exists(path) ? (int64_t)nc_file_size(path) : 0;
        }
    nc_safetensors_close(s);
    j->report.bytes_before = (uint64_t)before;
    int status = list_sites(j, a, f, e);
    if (status == 0)
        status = prepare_folder(a, j->l->folder, out, e);
    if (status == 0)
        status = write_files(j, a, out, f, e);
    if (status == 0)
        status = nc_file_copy(nc_path_join(a, j->l->folder, "config.json"), nc_path_join(a, out, "config.json"), e);
    nc_gguf_meta_free(f[0].meta);
    nc_gguf_meta_free(f[1].meta);
    j->report.error = j->square > 0 ? sqrt(j->error / j->square) : 0;
    return status;
}

int nc_quantize(const char *folder, const char *out, const nc_quantize_options *o, nc_quantize_report *report, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    struct job j = { .o = o };
    int status = quantize(&j, a, folder, out, e);
    if (status == 0 && report)
        *report = j.report;
    nc_loaded_free(j.l);
    nc_arena_free(a);
    return status;
}
