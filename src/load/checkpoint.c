/* checkpoint.c - see checkpoint.h. Finds tensors by name in safetensors or GGUF, checks their shapes, and says what nobody asked for. */
#include "load/checkpoint.h"

#include <stdlib.h>

#include "base/file.h"
#include "formats/ggml_blocks.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "load/gathered.h"

enum { FILES = NC_GGUF_FILES };

struct nc_checkpoint { bool borrowed; char *folder; nc_safetensors *tensors; nc_gguf *gguf[FILES]; bool *read[FILES]; nc_arena *arena; };

static int open_gguf(nc_checkpoint *c, nc_arena *a, nc_error *e)
{
    const bool alone = !nc_is_dir(c->folder);
    for (int i = 0; i < FILES; i++) {
        const char *path = alone ? c->folder : nc_path_join(a, c->folder, nc_gguf_files[i]);
        if (i && (alone || !nc_file_exists(path)))
            continue;
        NC_TRY(nc_gguf_open(path, &c->gguf[i], e));
        c->read[i] = nc_xcalloc((size_t)nc_gguf_count(c->gguf[i]) + 1, sizeof **c->read);
    }
    return 0;
}

static int open_files(nc_checkpoint *c, nc_arena *a, nc_error *e)
{
    bool safetensors = nc_file_exists(nc_path_join(a, c->folder, "model.safetensors")) || nc_file_exists(nc_path_join(a, c->folder, "model.safetensors.index.json"));
    if (!safetensors && (!nc_is_dir(c->folder) || nc_file_exists(nc_path_join(a, c->folder, nc_gguf_files[0]))))
        return open_gguf(c, a, e);
    NC_TRY(nc_safetensors_open(c->folder, &c->tensors, e));
    c->read[0] = nc_xcalloc((size_t)nc_safetensors_count(c->tensors) + 1, sizeof **c->read);
    return 0;
}

int nc_checkpoint_open(const char *folder, nc_checkpoint **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_checkpoint *c = nc_xcalloc(1, sizeof *c);
    c->arena = nc_arena_new();
    c->folder = nc_xmalloc(strlen(folder) + 1);
    memcpy(c->folder, folder, strlen(folder) + 1);
    int status = open_files(c, a, e);
    nc_arena_free(a);
    if (status < 0) {
        nc_checkpoint_close(c);
        return status;
    }
    *out = c;
    return 0;
}

nc_checkpoint *nc_checkpoint_borrow(nc_safetensors *s)
{
    nc_checkpoint *c = nc_xcalloc(1, sizeof *c);
    c->borrowed = true;
    c->tensors = s;
    c->read[0] = nc_xcalloc((size_t)nc_safetensors_count(s) + 1, sizeof **c->read);
    return c;
}

void nc_checkpoint_close(nc_checkpoint *c)
{
    if (!c)
        return;
    if (!c->borrowed)
        nc_safetensors_close(c->tensors);
    for (int i = 0; i < FILES; i++) {
        nc_gguf_close(c->gguf[i]);
        free(c->read[i]);
    }
    nc_arena_free(c->arena);
    free(c->folder);
    free(c);
}

const char *nc_checkpoint_folder(const nc_checkpoint *c) { return c->folder; }

bool nc_checkpoint_is_gguf(const nc_checkpoint *c) { return c->gguf[0] != NULL; }

static int check_shape(const char *name, const nc_shape *want, const nc_shape *have, nc_error *e)
{
    char wanted[96], given[96];
    if (nc_shape_equal(want, have))
        return 0;
    if (nc_shape_count(want) == 1 && nc_shape_count(have) == 1)
        return 0;
    return nc_fail(e, NC_ESHAPE, "tensor %s has shape %s, config.json makes it %s; is this the right config?", name, nc_shape_str(have, given), nc_shape_str(want, wanted));
}

/* One canonical name in the file's spelling by a pair of patterns: prefixes, or with a '*' that stands for the same text in both. False: it does not fit. */
static bool renamed(const char *name, const char *file, const char *canonical, nc_buf *out)
{
    const char *star = strchr(canonical, '*'), *to = strchr(file, '*');
    size_t head = star ? (size_t)(star - canonical) : strlen(canonical), tail = star ? strlen(star + 1) : 0, n = strlen(name);
    if (n < head + tail || strncmp(name, canonical, head) || (star && strcmp(name + n - tail, star + 1)))
        return false;
    nc_buf_printf(out, "%.*s%.*s%s", to ? (int)(to - file) : (int)strlen(file), file, (int)(n - head - tail), name + head, to ? to + 1 : "");
    return true;
}

/* The tensor of a site: under its own name, or as the family's renames spell it, up to two at once (a prefix and an older word). */
static const nc_stored *find_tensor(const nc_model *m, const char *name, const nc_safetensors *file, int depth)
{
    const nc_stored *t = nc_safetensors_find(file, name);
    for (const char *const *r = m->family->renames; !t && depth && r && r[0]; r += 2) {
        nc_buf other = { 0 };
        if (renamed(name, r[0], r[1], &other))
            t = find_tensor(m, other.p, file, depth - 1);
        nc_buf_free(&other);
    }
    return t;
}

const nc_stored *nc_checkpoint_named(const nc_checkpoint *c, const nc_model *m, const nc_site *s)
{
    return c->tensors ? find_tensor(m, s->name, c->tensors, 2) : NULL;
}

static bool is_turned(const nc_model *m, const char *file_name)
{
    for (const char *const *t = m->family->turned; t && *t; t++)
        if (!strcmp(*t, file_name))
            return true;
    return false;
}

static void fill_source(nc_source *out, const nc_stored *t, bool transposed)
{
    *out = (nc_source){ .dtype = t->dtype, .data = t->data, .bytes = t->bytes, .transposed = transposed, .name = t->name, .fd = -1 };
}

static int in_file(const nc_checkpoint *c, int status, nc_error *e)
{
    if (status < 0)
        nc_fail_in(e, "%s", c->folder ? c->folder : nc_safetensors_file(c->tensors, 0));
    return status;
}

/* A site within a tensor that holds many: *found false when there is no such tensor. */
static int find_stacked(nc_checkpoint *c, const nc_model *m, const nc_site *s, nc_source *out, bool *found, nc_error *e)
{
    nc_buf name = { 0 };
    nc_stacked at;
    const nc_stored *t = nc_stack_of(m, s->name, &name, &at) ? find_tensor(m, name.p, c->tensors, 2) : NULL;
    nc_buf_free(&name);
    *found = t != NULL;
    if (!t)
        return 0;
    at.count = t->shape.rank == 3 && t->shape.dim[0] < INT32_MAX ? (int)t->shape.dim[0] : at.index + 1;
    if (at.index == 0 && (nc_stack_reaches(m, s->name, at.count) || !nc_stack_reaches(m, s->name, at.count - 1)))
        return nc_fail(e, NC_ESHAPE, "tensor %s has %d entries, config.json makes it another number; is this the right config?", t->name, at.count);
    nc_shape want = NC_SHAPE(at.count, s->file_shape.dim[0] * at.parts, s->file_shape.dim[1]);
    NC_TRY(check_shape(t->name, &want, &t->shape, e));
    if (at.index >= at.count)
        return nc_fail(e, NC_ESHAPE, "tensor %s has %d entries, %s would be beyond them", t->name, at.count, s->name);
    size_t each = t->bytes / (size_t)at.count / (size_t)at.parts;
    c->read[0][t - nc_safetensors_at(c->tensors, 0)] = true;
    *out = (nc_source){ .dtype = t->dtype, .data = (const char *)t->data + each * (size_t)(at.index * at.parts + at.part), .bytes = each, .name = t->name, .fd = -1, .stacked = at };
    return 0;
}

static int find_safetensors(nc_checkpoint *c, const nc_model *m, const nc_site *s, nc_source *out, nc_error *e)
{
    const nc_stored *t = find_tensor(m, s->name, c->tensors, 2);
    bool stacked = false;
    if (!t && m->family->stacks && s->file_shape.rank == 2)
        NC_TRY(in_file(c, find_stacked(c, m, s, out, &stacked, e), e));
    if (stacked) {
        if (!nc_safetensors_place(c->tensors, out->data, out->bytes, &out->fd, &out->offset))
            out->fd = -1;
        return 0;
    }
    if (!t && (s->flags & NC_SITE_OPTIONAL))
        return 0;
    if (!t)
        return nc_fail(e, NC_ENOTFOUND, "%s: tensor %s is missing", nc_safetensors_file(c->tensors, 0), s->name);
    const bool turned = s->file_shape.rank == 2 && is_turned(m, t->name);
    nc_shape want = turned ? NC_SHAPE(s->file_shape.dim[1], s->file_shape.dim[0]) : s->file_shape;
    NC_TRY(in_file(c, check_shape(t->name, &want, &t->shape, e), e));
    c->read[0][t - nc_safetensors_at(c->tensors, 0)] = true;
    fill_source(out, t, turned != ((s->flags & NC_SITE_TRANSPOSED) != 0));
    out->turned = turned;
    if (!nc_safetensors_place(c->tensors, t->data, t->bytes, &out->fd, &out->offset))
        out->fd = -1;
    return 0;
}

/* GGUF holds every product as [out, in]; it has no shape without axes. A table of tokens may end with the tokenizer's last: what is missing is zero. */
static int check_gguf(nc_gguf_home *p, int i, int64_t count, const nc_stored *t, nc_error *e)
{
    nc_gguf_part *part = &p->part[i];
    const nc_shape *want = &part->shape, *have = &t->shape;
    int64_t values = 1, last = part->offset;
    for (int k = 0; k < 4; k++) {
        values *= part->dim[k];
        last += (part->dim[k] - 1) * part->stride[k];
    }
    if (values < 1 || last >= count || part->first + values > nc_shape_count(want))    /* a config whose numbers contradict each other */
        return nc_fail(e, NC_ESHAPE, "tensor %s cannot hold what config.json makes of it; is this the right config?", t->name);
    if (!strcmp(part->name, "token_embd.weight") && want->rank == 2 && have->rank == 2 && have->dim[1] == want->dim[1] && have->dim[0] < want->dim[0]) {
        part->dim[3] = nc_shape_count(have);
        return 0;
    }
    return check_shape(t->name, want, have, e);
}

static int find_gguf(nc_checkpoint *c, const nc_model *m, const nc_site *s, nc_source *out, nc_error *e)
{
    nc_gguf_home p;
    const nc_stored *t[NC_GGUF_PARTS] = { NULL };
    NC_TRY(nc_gguf_home_of(m, s, &p, e));
    const nc_gguf *g = c->gguf[p.file];
    const bool optional = s->flags & NC_SITE_OPTIONAL;
    if (!g && p.file == NC_GGUF_MMPROJ)
        return nc_fail(e, NC_ENOTFOUND, "%s: no mmproj.gguf, which holds the tower and the projector of a %s", c->folder, m->family->name);
    if (!g && !optional)
        return nc_fail(e, NC_ENOTFOUND, "%s: no extra.gguf with %s, which llama.cpp's files of this family leave out; take the Hugging Face folder, or a config.json whose architectures name the bare model", c->folder, s->name);
    for (int i = 0; i < p.count; i++) {
        const int file = p.part[i].beside ? NC_GGUF_EXTRA : p.file;
        g = c->gguf[file];
        t[i] = g ? nc_gguf_find(g, p.part[i].name) : NULL;
        if (!t[i] && p.part[i].beside)
            continue;
        if (!t[i] && optional)
            return 0;
        if (!t[i])
            return nc_fail(e, NC_ENOTFOUND, "%s/%s: tensor %s (%s) is missing", c->folder, nc_gguf_files[file], p.part[i].name, s->name);
        int status = nc_gguf_need(g, p.part[i].name, &t[i], e);
        if (status == 0)
            status = check_gguf(&p, i, nc_site_count(s), t[i], e);
        if (status < 0)
            return nc_fail_in(e, "%s/%s", c->folder, nc_gguf_files[file]), status;
        c->read[file][t[i] - nc_gguf_at(g, 0)] = true;
    }
    nc_gathered_source(c->arena, &p, t, nc_site_count(s), out);
    if (out->gathered || !nc_gguf_place(c->gguf[p.file], out->data, out->bytes, &out->fd, &out->offset))
        out->fd = -1;
    return 0;
}

int nc_checkpoint_find(nc_checkpoint *c, const nc_model *m, const nc_site *s, nc_source *out, nc_error *e)
{
    *out = (nc_source){ .fd = -1 };
    return c->tensors ? find_safetensors(c, m, s, out, e) : find_gguf(c, m, s, out, e);
}

void nc_checkpoint_drop(const nc_checkpoint *c, const nc_source *s)
{
    if (c->tensors)
        nc_safetensors_advise(c->tensors, s->data, s->bytes, NC_ADVISE_DROP);
    for (int i = 0; i < FILES; i++)
        if (c->gguf[i])
            nc_gguf_advise(c->gguf[i], s->data, s->bytes, NC_ADVISE_DROP);
}

nc_dtype nc_checkpoint_storage(nc_checkpoint *c, const nc_model *m)
{
    int64_t elements[NC_DTYPES] = { 0 };
    nc_dtype most = NC_DTYPES;
    for (int i = 0; i < m->site_count; i++) {
        nc_source s;
        nc_error ignored = { 0 };
        if (!(m->sites[i]->flags & NC_SITE_LINEAR) || nc_checkpoint_find(c, m, m->sites[i], &s, &ignored) < 0 || !s.data)
            continue;
        elements[s.dtype] += nc_site_count(m->sites[i]);
        if (most == NC_DTYPES || elements[s.dtype] > elements[most])
            most = s.dtype;
    }
    return most;
}

static bool is_ignored(const nc_model *m, const char *name)
{
    for (const char *const *p = m->kept; p && *p; p++)
        if (nc_glob(*p, name))
            return true;
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

/* llama.cpp's files of tied models may repeat the head, those of scaled positions carry their factors. */
static bool is_silent_gguf(const char *name)
{
    return !strcmp(name, "output.weight") || nc_starts_with(name, "rope_f");
}

int nc_checkpoint_unread(const nc_checkpoint *c, const nc_model *m, nc_buf *warn, nc_error *e)
{
    for (int i = 0; c->tensors && i < nc_safetensors_count(c->tensors); i++)
        if (!c->read[0][i])
            NC_TRY(report_unread(m, nc_safetensors_at(c->tensors, i), warn, e));
    for (int f = 0; f < FILES; f++)
        for (int i = 0; c->gguf[f] && i < nc_gguf_count(c->gguf[f]); i++) {
            const char *name = nc_gguf_at(c->gguf[f], i)->name;
            if (!c->read[f][i] && !is_silent_gguf(name) && warn)
                nc_buf_printf(warn, "tensor %s of %s was not used\n", name, nc_gguf_files[f]);
        }
    return 0;
}

void nc_site_matrix(const nc_site *s, int64_t *rows, int64_t *columns)
{
    int64_t count = nc_site_count(s);
    *rows = s->shape.rank > 1 ? s->shape.dim[0] : 1;
    *columns = *rows ? count / *rows : 0;
}

void nc_values_to_f32(nc_dtype t, const char *p, int64_t n, float *out)
{
    if (t == NC_F32) {
        memcpy(out, p, (size_t)n * 4);
    } else if (t == NC_BF16) {
        for (int64_t i = 0; i < n; i++) {
            uint16_t v;
            memcpy(&v, p + i * 2, 2);
            out[i] = nc_bf16_to_f32(v);
        }
    } else if (nc_dtype_get(t)->is_quantized) {
        nc_ggml_dequantize(t, p, n, out, NULL);
    } else {
        for (int64_t i = 0; i < n; i++)
            out[i] = (float)nc_dtype_load(t, p, i);
    }
}

/* Columns of the file are rows of the site: a few at a time, so that a line of the cache serves them all. */
static void transposed_rows(const nc_source *s, int64_t rows, int64_t columns, int64_t row0, int64_t count, float *out)
{
    const char *p = s->data;
    size_t size = (size_t)nc_dtype_get(s->dtype)->bytes;
    float line[16];
    for (int64_t r = 0; r < count; r += 16) {
        int64_t n = count - r < 16 ? count - r : 16;
        for (int64_t c = 0; c < columns; c++) {
            nc_values_to_f32(s->dtype, p + (size_t)(c * rows + row0 + r) * size, n, line);
            for (int64_t i = 0; i < n; i++)
                out[(r + i) * columns + c] = line[i];
        }
    }
}

void nc_source_rows(const nc_source *s, int64_t rows, int64_t columns, int64_t row0, int64_t count, float *out)
{
    size_t row_bytes = nc_dtype_bytes(s->dtype, columns);
    if (s->transposed) {
        transposed_rows(s, rows, columns, row0, count, out);
        return;
    }
    for (int64_t r = 0; r < count; r++)
        nc_values_to_f32(s->dtype, (const char *)s->data + (size_t)(row0 + r) * row_bytes, columns, out + r * columns);
}
