/* quantize.c - sites to GGUF tensors, a piece at a time from file to file: the weights are never in memory as a whole. */
#include "quant/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "formats/ggml_blocks.h"
#include "load/checkpoint.h"
#include "load/gguf_arch.h"
#include "quant/gguf_meta.h"

/* A tensor's values: those of one site, or parts of sites one after the other, in order of `first` once all are listed. */
struct piece { const nc_site *site; const nc_source *source; nc_gguf_change change; nc_gguf_part part; };
struct entry { struct piece *pieces; int count, capacity; bool is_product, is_direct; };   /* direct: every run of its pieces lies in the files as it is */
struct file { nc_store *store; struct entry *entry; int count; nc_gguf_meta *meta; };

struct job {
    nc_loaded *l;
    nc_checkpoint *c;                /* what is read from, a tensor at a time: the model's weights are never loaded */
    nc_source *sources;              /* of the model's sites */
    const nc_quantize_options *o;
    const nc_site *held;             /* the site whose values, in its order, are in `values`: where runs do not lie in the files */
    float *values;
    struct file file[NC_GGUF_FILES];
    int writing;                     /* which of them */
    double square, error;            /* sums over products' weights */
    nc_quantize_report report;
};

/* What llama.cpp's converter keeps in f32 whatever is asked. */
static bool stays_f32(const char *name)
{
    static const char *const ends[] = { "_norm.weight", ".ffn_gate_inp.weight", ".ffn_gate_inp_shexp.weight", ".ssm_conv1d.weight", ".indexer.proj.weight" };
    bool is = !nc_ends_with(name, ".weight") || !strcmp(name, "position_embd.weight") || !strcmp(name, "token_types.weight") || !strcmp(name, "v.position_embd.weight");
    for (int i = 0; i < NC_COUNT(ends); i++)
        is = is || nc_ends_with(name, ends[i]);
    return is;
}

/* The type a tensor is written in. */
static nc_dtype type_of(const nc_site *s, const nc_gguf_part *p, nc_dtype to)
{
    const nc_dtype wide = to == NC_F16 || to == NC_F32 ? to : NC_BF16;
    if (p->shape.rank < 2 || p->shape.dim[0] == 1 || s->shape.rank < 2 || s->file_shape.rank > 2 || stays_f32(p->name))
        return NC_F32;
    if (!(s->flags & NC_SITE_LINEAR))
        return wide;
    return nc_shape_last(&p->shape) % nc_dtype_get(to)->block ? wide : to;
}

/* Sums over values and what is stored for them. */
static int measure(nc_dtype type, const float *from, const void *stored, int64_t n, double *square, double *error, nc_error *e)
{
    float back[1024];
    for (int64_t at = 0; at < n; at += NC_COUNT(back)) {
        int64_t part = n - at < NC_COUNT(back) ? n - at : NC_COUNT(back);
        NC_TRY(nc_ggml_dequantize(type, (const char *)stored + nc_dtype_bytes(type, at), part, back, e));
        for (int64_t i = 0; i < part; i++) {
            double v = from[at + i], d = v - (double)back[i];
            *square += v * v;
            *error += d * d;
        }
    }
    return 0;
}

/* The piece that value `at` of a tensor lies in. */
static const struct piece *piece_at(const struct entry *entry, int64_t at)
{
    int low = 0, high = entry->count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (entry->pieces[middle].part.first <= at)
            low = middle;
        else
            high = middle - 1;
    }
    return &entry->pieces[low];
}

/* All values of a site in its own order, kept until another is asked for. */
static int hold(struct job *j, const struct piece *piece, nc_error *e)
{
    const nc_source *source = piece->source;
    int64_t rows, columns;
    if (j->held == piece->site)
        return 0;
    nc_site_matrix(piece->site, &rows, &columns);
    free(j->values);
    j->held = NULL;
    j->values = malloc((size_t)(rows * columns) * sizeof *j->values + 64);
    char *stage = source->gathered ? malloc(source->bytes + 64) : NULL;
    if (!j->values || (source->gathered && !stage)) {
        free(stage);
        return nc_fail(e, NC_ENOMEM, "%lld values of %s are not to be had in memory", (long long)(rows * columns), piece->site->name);
    }
    nc_source plain = *source;
    if (stage) {
        nc_source_gather(source, stage);
        plain = (nc_source){ .dtype = source->dtype, .data = stage };
    }
    nc_source_rows(&plain, rows, columns, 0, rows, j->values);
    free(stage);
    j->held = piece->site;
    return 0;
}

/* Up to n values of a tensor from `at` on as f32: *count is how many there are until a run of a piece ends. */
static int values_at(struct job *j, const struct entry *entry, int64_t at, int64_t n, float *out, int64_t *count, nc_error *e)
{
    const struct piece *piece = piece_at(entry, at);
    const nc_gguf_part *p = &piece->part;
    int64_t run = (at - p->first) / p->dim[3], within = (at - p->first) % p->dim[3], start = p->offset;
    *count = n = n < p->dim[3] - within ? n : p->dim[3] - within;
    for (int k = 2; k >= 0; k--) {
        start += run % p->dim[k] * p->stride[k];
        run /= p->dim[k];
    }
    if (entry->is_direct) {
        nc_values_to_f32(piece->source->dtype, (const char *)piece->source->data + nc_dtype_bytes(piece->source->dtype, start + within), n, out);
    } else {
        NC_TRY(hold(j, piece, e));
        for (int64_t i = 0; i < n; i++)
            out[i] = j->values[start + (within + i) * p->stride[3]];
    }
    if (piece->change != NC_GGUF_SAME)
        for (int64_t i = 0; i < n; i++)
            out[i] = nc_gguf_changed(piece->change, out[i]);
    return 0;
}

enum { VALUES = 8192, STRETCH = 4 * VALUES, STRETCHES = 64 };    /* a piece of the file is at most 1 MiB, 58254 blocks of Q4_0 */

/* A piece of the file, cut into stretches that the pool's threads share; sums are added in the stretches' order. */
struct filling { struct job *j; const struct entry *entry; nc_dtype type; int64_t at, count; char *out; double square[STRETCHES], error[STRETCHES]; int status[STRETCHES]; };

static int fill_stretch(struct filling *f, int64_t part, nc_error *e)
{
    const int64_t begin = part * STRETCH, end = begin + STRETCH < f->count ? begin + STRETCH : f->count;
    float values[VALUES];
    for (int64_t i = begin, some; i < end; i += some) {
        NC_TRY(values_at(f->j, f->entry, f->at + i, end - i < VALUES ? end - i : VALUES, values, &some, e));
        char *out = f->out + nc_dtype_bytes(f->type, i);
        NC_TRY(nc_ggml_quantize(f->type, values, some, out, e));
        if (f->entry->is_product)
            NC_TRY(measure(f->type, values, out, some, &f->square[part], &f->error[part], e));
    }
    return 0;
}

static void fill_part(void *context, int64_t part, int64_t parts, int worker)
{
    struct filling *f = context;
    nc_error e = { 0 };
    (void)parts, (void)worker;
    f->status[part] = fill_stretch(f, part, &e);
}

static void drop_entry(struct job *j, const struct entry *entry)
{
    for (int i = 0; i < entry->count; i++)
        if (!entry->pieces[i].source->gathered)
            nc_checkpoint_drop(j->c, entry->pieces[i].source);
}

static int fill(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    struct job *j = context;
    const struct file *file = &j->file[j->writing];
    const nc_dtype type = file->store[i].dtype;
    const nc_dtype_info *info = nc_dtype_get(type);
    struct filling f = { j, &file->entry[i], type, (int64_t)(offset / (uint64_t)info->bytes) * info->block, (int64_t)(n / (size_t)info->bytes) * info->block, out, { 0 }, { 0 }, { 0 } };
    const int64_t parts = (f.count + STRETCH - 1) / STRETCH;
    if (offset == 0 && j->o->progress)
        j->o->progress(j->o->context, nc_gguf_files[j->writing], i, file->count);
    if (offset == 0 && i > 0)
        drop_entry(j, &file->entry[i - 1]);
    nc_pool_run(f.entry->is_direct ? j->o->pool : NULL, parts, fill_part, &f);
    for (int64_t k = 0; k < parts; k++) {
        if (f.status[k] < 0) {
            fill_stretch(&f, k, e);                      /* again, for its words */
            nc_fail_in(e, "%s", file->store[i].name);
            return f.status[k];
        }
        j->square += f.square[k];
        j->error += f.error[k];
    }
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return x->part.first < y->part.first ? -1 : x->part.first > y->part.first;
}

/* The tensor a part belongs to, made when its first part comes. */
static struct entry *entry_of(struct job *j, nc_arena *a, struct file *f, nc_map *names, const nc_site *s, const nc_gguf_part *p)
{
    int64_t known;
    if (nc_map_get(names, nc_str_of(p->name), &known))
        return &f->entry[known];
    const nc_dtype type = type_of(s, p, j->o->to);
    struct entry *entry = &f->entry[f->count];
    entry->is_product = s->flags & NC_SITE_LINEAR;
    entry->is_direct = true;
    f->store[f->count++] = (nc_store){ nc_arena_strdup(a, p->name), type, p->shape, NULL };
    nc_map_set(names, nc_str_of(f->store[f->count - 1].name), f->count - 1);
    j->report.quantized += type == j->o->to ? (uint64_t)nc_shape_count(&p->shape) : 0;
    j->report.bytes_after += nc_dtype_bytes(type, nc_shape_count(&p->shape));
    return entry;
}

/* Runs of the part that are whole blocks of the source's type in its order. */
static bool lies_as_it_is(const nc_source *source, const nc_gguf_part *p)
{
    const int64_t block = nc_dtype_get(source->dtype)->block;
    bool whole = !source->gathered && !source->transposed && p->stride[3] == 1 && p->dim[3] % block == 0 && p->offset % block == 0;
    for (int k = 0; k < 3; k++)
        whole = whole && (p->dim[k] == 1 || p->stride[k] % block == 0);
    return whole;
}

static void add_piece(struct entry *entry, const nc_site *s, const nc_source *source, const nc_gguf_home *place, const nc_gguf_part *part)
{
    if (entry->count == entry->capacity) {
        entry->capacity = entry->capacity ? 2 * entry->capacity : 1;
        entry->pieces = nc_xrealloc(entry->pieces, sizeof *entry->pieces * (size_t)entry->capacity);
    }
    entry->is_direct = entry->is_direct && lies_as_it_is(source, part);
    entry->pieces[entry->count++] = (struct piece){ s, source, place->change, *part };
}

/* Every value of a tensor must come from somewhere: an expert may be missing. */
static int check_whole(const struct file *f, nc_error *e)
{
    for (int i = 0; i < f->count; i++) {
        struct entry *entry = &f->entry[i];
        int64_t at = 0;
        qsort(entry->pieces, (size_t)entry->count, sizeof *entry->pieces, by_first);
        for (int k = 0; k < entry->count; k++) {
            const nc_gguf_part *p = &entry->pieces[k].part;
            if (p->first != at)
                break;
            at += p->dim[0] * p->dim[1] * p->dim[2] * p->dim[3];
        }
        if (at != nc_shape_count(&f->store[i].shape))
            return nc_fail(e, NC_EUNSUPPORTED, "tensor %s would not be whole: the model's layers do not fit llama.cpp's form", f->store[i].name);
    }
    return 0;
}

/* output.weight of a model that has none, for an architecture that wants one: the table of tokens again. */
static void repeat_table(struct job *j, nc_arena *a, nc_map *names)
{
    struct file *f = &j->file[NC_GGUF_MODEL];
    int64_t table;
    if (!nc_gguf_arch_of(j->l->model)->own_head || nc_map_get(names, NC_STR("output.weight"), NULL) || !nc_map_get(names, NC_STR("token_embd.weight"), &table))
        return;
    struct piece p = f->entry[table].pieces[0];
    strcpy(p.part.name, "output.weight");
    const nc_gguf_home home = { .count = 1, .change = p.change };
    add_piece(entry_of(j, a, f, names, p.site, &p.part), p.site, p.source, &home, &p.part);
}

static int list_sites(struct job *j, nc_arena *a, nc_error *e)
{
    const nc_model *m = j->l->model;
    nc_map *names[NC_GGUF_FILES];
    int status = 0;
    for (int k = 0; k < NC_GGUF_FILES; k++) {
        j->file[k].store = NC_NEW_ARRAY(a, nc_store, m->site_count * NC_GGUF_PARTS + NC_GGUF_EXTRAS);
        j->file[k].entry = NC_NEW_ARRAY(a, struct entry, m->site_count * NC_GGUF_PARTS + NC_GGUF_EXTRAS);
        j->file[k].meta = nc_gguf_meta_new();
        names[k] = nc_map_new(256);
    }
    for (int i = 0; i < m->site_count && status == 0; i++) {
        const nc_site *s = m->sites[i];
        nc_gguf_home p;
        if (!j->sources[i].data || (status = nc_gguf_home_of(m, s, &p, e)) < 0)
            continue;
        for (int k = 0; k < p.count; k++) {
            const int to = p.part[k].beside ? NC_GGUF_EXTRA : p.file;
            add_piece(entry_of(j, a, &j->file[to], names[to], s, &p.part[k]), s, &j->sources[i], &p, &p.part[k]);
        }
        j->report.values += (uint64_t)nc_site_count(s);
    }
    if (status == 0)
        repeat_table(j, a, names[NC_GGUF_MODEL]);
    for (int k = 0; k < NC_GGUF_FILES; k++) {
        nc_map_free(names[k]);
        if (status == 0)
            status = check_whole(&j->file[k], e);
    }
    return status;
}

static int write_files(struct job *j, nc_arena *a, const char *out, nc_error *e)
{
    const nc_gguf_arch *arch = nc_gguf_arch_of(j->l->model);
    nc_gguf_extra extra[NC_GGUF_EXTRAS];
    struct file *decoder = &j->file[NC_GGUF_MODEL];
    const int extras = arch->extra ? arch->extra(a, nc_gguf_text_config(j->l->model), extra) : 0;
    for (int i = 0; i < extras; i++)
        decoder->store[decoder->count++] = (nc_store){ extra[i].name, NC_F32, NC_SHAPE(extra[i].count), extra[i].values };
    nc_gguf_meta_decoder(decoder->meta, j->l, j->o->to);
    NC_TRY(nc_gguf_meta_tokenizer(decoder->meta, j->l, e));
    nc_gguf_meta_tower(j->file[NC_GGUF_MMPROJ].meta, j->l, j->o->to);
    nc_gguf_meta_extra(j->file[NC_GGUF_EXTRA].meta, j->l, j->o->to);
    for (j->writing = 0; j->writing < NC_GGUF_FILES; j->writing++) {
        const struct file *f = &j->file[j->writing];
        if (f->count)
            NC_TRY(nc_gguf_write(nc_path_join(a, out, nc_gguf_files[j->writing]), f->meta, f->store, f->count, fill, j, e));
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
    return nc_is_dir(folder) ? nc_copy_front_files(folder, out, e) : 0;
}

/* The folder's, byte for byte; of a GGUF file that stands alone, what its words say. */
static int write_config(const nc_loaded *l, nc_arena *a, const char *path, nc_error *e)
{
    nc_buf b = { 0 };
    if (nc_is_dir(l->folder))
        return nc_file_copy(nc_path_join(a, l->folder, "config.json"), path, e);
    nc_json_write(&b, l->config, 2);
    nc_buf_addc(&b, '\n');
    int status = nc_file_write(path, b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

/* Where the sites' values lie; tensors that nobody reads are judged as loading judges them. */
static int open_sources(struct job *j, nc_error *e)
{
    nc_model *m = j->l->model;
    NC_TRY(nc_checkpoint_open(j->l->folder, &j->c, e));
    j->sources = nc_xcalloc((size_t)m->site_count + 1, sizeof *j->sources);
    for (int i = 0; i < m->site_count; i++) {
        NC_TRY(nc_checkpoint_find(j->c, m, m->sites[i], &j->sources[i], e));
        if (j->sources[i].name && !nc_checkpoint_is_gguf(j->c))
            m->sites[i]->file_name = nc_arena_strdup(m->arena, j->sources[i].name);
    }
    return nc_checkpoint_unread(j->c, m, NULL, e);
}

static int quantize(struct job *j, nc_arena *a, const char *folder, const char *out, nc_error *e)
{
    nc_load_options load = { .weights = { NC_F32, false, j->o->pool, nc_kernels_best() }, .config_only = true };
    NC_TRY(nc_load(folder, &load, &j->l, e));
    NC_TRY(open_sources(j, e));
    int64_t before = 0;
    nc_safetensors *s = NULL;
    nc_error none = { 0 };
    if (nc_safetensors_open(j->l->folder, &s, &none) == 0)
        before = (int64_t)nc_safetensors_bytes(s);
    else
        for (int i = 0; i < NC_GGUF_FILES; i++) {
            const char *path = nc_is_dir(j->l->folder) ? nc_path_join(a, j->l->folder, nc_gguf_files[i]) : i ? "" : j->l->folder;
            before += nc_file_exists(path) ? (int64_t)nc_file_size(path) : 0;
        }
    nc_safetensors_close(s);
    j->report.bytes_before = (uint64_t)before;
    int status = list_sites(j, a, e);
    if (status == 0)
        status = prepare_folder(a, j->l->folder, out, e);
    if (status == 0)
        status = write_files(j, a, out, e);
    if (status == 0)
        status = write_config(j->l, a, nc_path_join(a, out, "config.json"), e);
    for (int k = 0; k < NC_GGUF_FILES; k++) {
        nc_gguf_meta_free(j->file[k].meta);
        for (int i = 0; i < j->file[k].count; i++)
            free(j->file[k].entry[i].pieces);
    }
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
    free(j.values);
    free(j.sources);
    nc_checkpoint_close(j.c);
    nc_loaded_free(j.l);
    nc_arena_free(a);
    return status;
}
