/* fill.c - weights from files to memory at the speed of memory.
 *
 * Work is cut into pieces of a few panels (or rows) whose source fits the L2 cache. A piece is read from the file by pread into its worker's buffer, which
 * never leaves the cache, and packed from there with stores that bypass it; so a weight crosses the memory bus twice and no page of its file's mapping is
 * faulted in: the weights are resident once. Values the run holds as the file does are read in place. Transposed sources (GPT-2's) cannot be read in runs:
 * they come from the mapping, whose pages are dropped batch by batch. Where the level has products for rows as a file holds them (AMX: gemm_stored.c)
 * nothing is read at all: the weight stays in the mapping, which is brought in by pieces, and is packed when a product of many rows first asks for it.
 */
#include "load/fill.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE_BYTES = 256 << 10, STORED_BYTES = 8 << 20, BATCH_BYTES = 192 << 20 };

struct piece { int site; int64_t begin, end; };          /* panels of a packed site, pairs of them of a trained one, rows of a plain one */

struct fill {
    const nc_weights_options *o;
    nc_site *const *sites;
    nc_source *sources;                                  /* gathered ones hold their values while their batch is filled */
    struct piece *pieces;
    int64_t first, count, capacity;                      /* pieces[first .. count) are those of the batch */
    char *scratch;
    size_t scratch_bytes;                                /* a worker's: staged source, then f32 values */
    size_t stage_bytes;
    atomic_int status;
};

static size_t up64(size_t v) { return (v + 63) & ~(size_t)63; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- reading ---- */

static bool read_at(int fd, void *out, size_t n, uint64_t offset)
{
    for (char *to = out; n;) {
        ssize_t got = pread(fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

static bool read_rows(const nc_source *s, int64_t columns, int64_t row, int64_t rows, void *out)
{
    const size_t row_bytes = nc_dtype_bytes(s->dtype, columns);
    size_t from = (size_t)row * row_bytes, n = (size_t)rows * row_bytes;
    if (s->fd >= 0)
        return read_at(s->fd, out, n, s->offset + from);
    memcpy(out, (const char *)s->data + from, n);
    return true;
}

/* ---- a piece ---- */

/* Types that are not packed as they are (8-bit floats, integers) pass through f32. */
static bool needs_widening(nc_dtype t) { return !nc_dtype_get(t)->is_quantized && t != NC_F32 && t != NC_F64 && t != NC_BF16 && t != NC_F16; }

/* Rows of a source that needs it as f32, after the staged ones. */
static const float *widen(const struct fill *f, const nc_source *source, const nc_gemm_b *b, int64_t row, int64_t rows, const char *staged, char *stage)
{
    float *values = (float *)(stage + f->stage_bytes);
    nc_source plain = { .dtype = source->dtype, .data = staged };
    if (source->transposed)
        nc_source_rows(source, b->n, b->k, row, rows, values);
    else
        nc_source_rows(&plain, rows, b->k, 0, rows, values);
    return values;
}

static int fill_packed(const struct fill *f, const nc_site *s, const nc_source *source, int64_t begin, int64_t end, char *stage)
{
    const nc_gemm_b *b = s->packed;
    int64_t row = begin * NC_GEMM_PANEL, rows = least(end * NC_GEMM_PANEL, b->n) - row;
    bool through_f32 = needs_widening(source->dtype);
    if (source->transposed && !through_f32) {
        nc_gemm_source whole = { source->dtype, source->data, b->n, true };
        return nc_gemm_pack_panels(f->o->kernels, s->packed, &whole, begin, end, true, NULL);
    }
    const char *from = stage;
    if (source->fd < 0)
        from = (const char *)source->data + (size_t)row * nc_dtype_bytes(source->dtype, b->k);
    else if (!source->transposed && !read_rows(source, b->k, row, rows, stage))
        return NC_EIO;
    nc_gemm_b part = { .kind = b->kind, .n = rows, .k = b->k, .data = (char *)b->data + (size_t)begin * nc_gemm_panel_bytes(b->kind, b->k) };
    nc_gemm_source in = { source->dtype, from, b->k, false };
    if (through_f32)
        in = (nc_gemm_source){ NC_F32, widen(f, source, b, row, rows, from, stage), b->k, false };
    return nc_gemm_pack_panels(f->o->kernels, &part, &in, 0, end - begin, true, NULL);
}

static void store(nc_dtype t, const float *values, int64_t n, void *out)
{
    if (t == NC_F32)
        memcpy(out, values, (size_t)n * 4);
    else if (t == NC_BF16)
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = nc_f32_to_bf16(values[i]);
    else
        for (int64_t i = 0; i < n; i++)
            nc_dtype_store(t, out, i, values[i]);
}

/* float64 runs keep what the file has of more than f32. */
static bool fill_exactly(const nc_site *s, const nc_source *source, int64_t rows, int64_t columns, int64_t begin, int64_t end)
{
    if (s->value.dtype != NC_F64 || source->dtype != NC_F64)
        return false;
    for (int64_t r = begin; r < end; r++)
        for (int64_t c = 0; c < columns; c++)
            ((double *)s->value.data)[r * columns + c] = nc_dtype_load(NC_F64, source->data, source->transposed ? c * rows + r : r * columns + c);
    return true;
}

/* Rows [begin, end) of a source as f32, after the staged ones; NULL when reading fails. */
static float *rows_f32(const struct fill *f, const nc_source *source, int64_t rows, int64_t columns, int64_t begin, int64_t end, char *stage)
{
    float *values = (float *)(stage + f->stage_bytes);
    if (source->transposed) {
        nc_source_rows(source, rows, columns, begin, end - begin, values);
        return values;
    }
    if (!read_rows(source, columns, begin, end - begin, stage))
        return NULL;
    nc_source staged = { .dtype = source->dtype, .data = stage };
    nc_source_rows(&staged, end - begin, columns, 0, end - begin, values);
    return values;
}

static int fill_plain(const struct fill *f, const nc_site *s, const nc_source *source, int64_t begin, int64_t end, char *stage)
{
    int64_t rows, columns;
    nc_site_matrix(s, &rows, &columns);
    size_t at = (size_t)(begin * columns);
    char *out = (char *)s->value.data + nc_dtype_bytes(s->value.dtype, (int64_t)at);
    bool straight = !source->transposed, needs_master = s->master && s->master != s->value.data;
    if (straight && source->dtype == s->value.dtype && !needs_master)
        return read_rows(source, columns, begin, end - begin, out) ? 0 : NC_EIO;
    if (fill_exactly(s, source, rows, columns, begin, end))
        return 0;
    float *values = rows_f32(f, source, rows, columns, begin, end, stage);
    if (!values)
        return NC_EIO;
    store(s->value.dtype, values, (end - begin) * columns, out);
    if (needs_master)
        memcpy(s->master + at, values, (size_t)((end - begin) * columns) * 4);
    return 0;
}

/* A product's weight that is trained in bf16: the master, and from it both packed forms. Units of two panels. */
static int fill_trained(const struct fill *f, const nc_site *s, const nc_source *source, int64_t begin, int64_t end, char *stage)
{
    const nc_gemm_b *b = s->packed;
    int64_t row0 = begin * 2 * NC_GEMM_PANEL, row1 = least(end * 2 * NC_GEMM_PANEL, b->n);
    float *values = rows_f32(f, source, b->n, b->k, row0, row1, stage);
    if (!values)
        return NC_EIO;
    memcpy(s->master + row0 * b->k, values, (size_t)((row1 - row0) * b->k) * 4);
    uint16_t *half = (uint16_t *)(void *)values;         /* shorter: never ahead of what is read */
    for (int64_t i = 0; i < (row1 - row0) * b->k; i++)
        half[i] = nc_f32_to_bf16(s->master[row0 * b->k + i]);
    nc_gemm_pack_both(f->o->kernels, b, half, begin * 2, least(end * 2, nc_gemm_panels(b->n)));
    return 0;
}

static bool is_trained(const nc_site *s) { return s->packed && s->packed->turned; }

static int bring_stored(const struct fill *f, const nc_site *s, const nc_source *source, int64_t begin, int64_t end, char *stage)
{
    const nc_gemm_b *b = s->packed;
    (void)f, (void)source, (void)stage;
    return nc_pages_bring(b->rows + begin * NC_GEMM_PANEL * b->k, (size_t)((end - begin) * NC_GEMM_PANEL * b->k) * 2) ? 0 : NC_EIO;
}

static bool is_stored(const nc_site *s) { return s->packed && s->packed->rows; }

static void fill_piece(void *context, int64_t part, int64_t parts, int worker)
{
    struct fill *f = context;
    const struct piece *p = &f->pieces[f->first + part];
    nc_site *s = f->sites[p->site];
    char *stage = f->scratch + (size_t)worker * f->scratch_bytes;
    (void)parts;
    int status = (is_trained(s) ? fill_trained : is_stored(s) ? bring_stored : s->packed ? fill_packed : fill_plain)(f, s, &f->sources[p->site], p->begin, p->end, stage);
    if (status < 0)
        atomic_store(&f->status, status);
}

/* ---- cutting ---- */

static void add_piece(struct fill *f, int site, int64_t begin, int64_t end)
{
    if (f->count == f->capacity) {
        f->capacity = f->capacity ? 2 * f->capacity : 1024;
        f->pieces = nc_xrealloc(f->pieces, sizeof *f->pieces * (size_t)f->capacity);
    }
    f->pieces[f->count++] = (struct piece){ site, begin, end };
}

static void cut_site(struct fill *f, int i)
{
    const nc_site *s = f->sites[i];
    int64_t rows, columns;
    nc_site_matrix(s, &rows, &columns);
    if (s->packed)
        rows = s->packed->n, columns = s->packed->k;
    int64_t unit = is_trained(s) ? 2 * NC_GEMM_PANEL : s->packed ? NC_GEMM_PANEL : 1, units = (rows + unit - 1) / unit;
    nc_dtype t = f->sources[i].dtype;
    size_t source = nc_dtype_bytes(t, columns) * (size_t)unit, values = s->packed && !is_trained(s) && !needs_widening(t) ? 0 : (size_t)columns * 4 * (size_t)unit;
    size_t larger = source > values ? source : values;
    int64_t step = larger ? (is_stored(s) ? STORED_BYTES : PIECE_BYTES) / (int64_t)larger : 1;
    step = step < 1 ? 1 : step;
    if (is_stored(s))
        source = values = 0;
    if (source * (size_t)step > f->stage_bytes)
        f->stage_bytes = up64(source * (size_t)step);
    if (values * (size_t)step > f->scratch_bytes)        /* the f32 part until the batch's pieces are all known */
        f->scratch_bytes = up64(values * (size_t)step);
    for (int64_t u = 0; u < units; u += step)
        add_piece(f, i, u, least(u + step, units));
}

/* The weight stays where the file holds it. */
static bool stays(const nc_source *s, nc_gemm_kind kind, int64_t rows, int64_t columns, const nc_weights_options *o)
{
    return o->stored && kind == NC_GEMM_BF16 && s->dtype == NC_BF16 && s->fd >= 0 && !s->transposed && !s->gathered && (uintptr_t)s->data % 2 == 0 &&
           nc_gemm_can_store(o->kernels, rows, columns);
}

/* Packed storage for all sites that want it, cut from one block. */
static int give_storage(nc_model *m, nc_site *const *sites, const nc_source *sources, int count, const nc_weights_options *o, nc_error *e)
{
    size_t total = 0, bytes;
    for (int round = 0; round < 2; round++) {
        char *at = round && total ? nc_model_alloc(m, total) : NULL;
        if (round && total && !at)
            return nc_fail(e, NC_ENOMEM, "%.1f GB for packed weights are not to be had", (double)total / 1e9);
        for (int i = 0; i < count; i++) {
            nc_site *s = sites[i];
            if (!sources[i].data || is_trained(s) || !nc_site_is_packed(s, o))
                continue;
            int64_t rows = s->shape.dim[0], columns = nc_site_count(s) / rows;
            nc_gemm_kind kind = nc_gemm_kind_for(sources[i].dtype, o->compute == NC_BF16);
            if (s->packed && s->packed->kind == kind && !round) {
                s->packed->rows = NULL;                  /* new values: no longer the file's */
                continue;
            }
            NC_TRY(nc_gemm_b_bytes(kind, rows, columns, &bytes, e));
            if (!round) {
                total += up64(bytes);
                s->packed = NULL;
            } else if (!s->packed) {
                s->packed = NC_NEW(m->arena, nc_gemm_b);
                if (stays(&sources[i], kind, rows, columns, o))
                    NC_TRY(nc_gemm_b_store(s->packed, NC_NEW(m->arena, nc_gemm_stored), rows, columns, sources[i].data, at, e));
                else
                    NC_TRY(nc_gemm_b_borrow(s->packed, kind, rows, columns, at, e));
                at += up64(bytes);
            }
        }
    }
    return 0;
}

struct place { int site, fd; uint64_t offset; };

/* Order of the file, so that a cold disk reads forward. */
static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->fd != y->fd)
        return x->fd < y->fd ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->site < y->site ? -1 : x->site > y->site;
}

struct gathering { struct fill *f; const struct place *order; };

static void gather_one(void *context, int64_t part, int64_t parts, int worker)
{
    const struct gathering *g = context;
    nc_source *s = &g->f->sources[g->order[part].site];
    (void)parts, (void)worker;
    if (s->gathered && s->data)
        nc_source_gather(s, (void *)(uintptr_t)s->data);
}

/* Memory for the values of a batch's gathered sources, and the values. */
static int gather_batch(struct fill *f, const struct place *order, int count, nc_error *e)
{
    struct gathering g = { f, order };
    for (int i = 0; i < count; i++)
        if (f->sources[order[i].site].gathered)
            f->sources[order[i].site].data = NULL;
    for (int i = 0; i < count; i++) {
        nc_source *s = &f->sources[order[i].site];
        if (s->gathered && !(s->data = malloc(s->bytes + 64)))
            return nc_fail(e, NC_ENOMEM, "%zu bytes to put the rows of %s in order are not to be had", s->bytes, s->name);
    }
    nc_pool_run(f->o->pool, count, gather_one, &g);
    return 0;
}

static void drop_batch(struct fill *f, const struct place *order, int count, nc_checkpoint *c)
{
    for (int i = 0; i < count; i++) {
        nc_source *s = &f->sources[order[i].site];
        if (s->gathered) {
            free((void *)(uintptr_t)s->data);
            s->data = NULL;
        } else if (c && s->transposed)
            nc_checkpoint_drop(c, s);
    }
}

static int fill_batch(struct fill *f, const struct place *order, int from, int to, nc_error *e)
{
    size_t values;
    f->count = f->first = 0;
    f->stage_bytes = f->scratch_bytes = 0;
    for (int i = from; i < to; i++)
        cut_site(f, order[i].site);
    values = f->scratch_bytes;
    f->scratch_bytes = f->stage_bytes + values + 64;
    size_t bytes = f->scratch_bytes * (size_t)nc_pool_threads(f->o->pool);
    f->scratch = nc_pages_alloc(bytes);
    if (!f->scratch)
        return nc_fail(e, NC_ENOMEM, "%zu bytes to stage weights in are not to be had", bytes);
    nc_pool_run(f->o->pool, f->count, fill_piece, f);
    nc_pages_free(f->scratch, bytes);
    int status = atomic_load(&f->status);
    return status < 0 ? nc_fail(e, status, "reading weights failed: the file shrank under the reader, or holds values of a type that cannot be packed") : 0;
}

static int run_batch(struct fill *f, const struct place *order, int from, int to, nc_checkpoint *c, nc_error *e)
{
    int status = gather_batch(f, order + from, to - from, e);
    if (status == 0)
        status = fill_batch(f, order, from, to, e);
    drop_batch(f, order + from, to - from, c);
    return status;
}

int nc_sites_fill(nc_model *m, nc_site *const *sites, nc_source *sources, int count, nc_checkpoint *c, const nc_weights_options *o, nc_error *e)
{
    NC_TRY(give_storage(m, sites, sources, count, o, e));
    struct fill f = { .o = o, .sites = sites, .sources = sources };
    struct place *order = nc_xmalloc(sizeof *order * (size_t)(count + 1));
    int n = 0, status = 0;
    for (int i = 0; i < count; i++)
        if (sources[i].data)
            order[n++] = (struct place){ i, sources[i].fd, sources[i].offset };
    qsort(order, (size_t)n, sizeof *order, by_place);
    for (int from = 0, to; from < n && status == 0; from = to) {
        size_t bytes = 0;
        for (to = from; to < n && bytes < BATCH_BYTES; to++)
            bytes += sources[order[to].site].bytes;
        status = run_batch(&f, order, from, to, c, e);
    }
    free(f.pieces);
    free(order);
    return status;
}

int nc_site_fill(nc_model *m, nc_site *s, nc_dtype t, const void *values, bool transposed, const nc_weights_options *o, nc_error *e)
{
    nc_source source = { .dtype = t, .data = values, .transposed = transposed, .fd = -1 };
    return nc_sites_fill(m, &s, &source, 1, NULL, o, e);
}

/* From here on the site's file is as this one is, and it is saved so. */
static void turn(nc_site *s)
{
    s->flags ^= NC_SITE_TRANSPOSED;
    s->file_shape = NC_SHAPE(s->file_shape.dim[1], s->file_shape.dim[0]);
}

int nc_weights_read(nc_model *m, nc_checkpoint *c, const nc_weights_options *o, nc_buf *warn, nc_error *e)
{
    nc_source *sources = nc_xcalloc((size_t)m->site_count + 1, sizeof *sources);
    int status = 0;
    for (int i = 0; i < m->site_count && status == 0; i++) {
        if (m->sites[i]->flags & NC_SITE_FRESH)
            continue;
        status = nc_checkpoint_find(c, m, m->sites[i], &sources[i], e);
        if (status == 0 && !sources[i].data)
            m->sites[i]->flags |= NC_SITE_MISSING;
        if (status == 0 && sources[i].name && !nc_checkpoint_is_gguf(c))
            m->sites[i]->file_name = nc_arena_strdup(m->arena, sources[i].name);
        m->sites[i]->stacked = sources[i].stacked;
        if (sources[i].turned)
            turn(m->sites[i]);
    }
    m->source = nc_checkpoint_folder(c) ? nc_arena_strdup(m->arena, nc_checkpoint_folder(c)) : NULL;
    if (status == 0)
        status = nc_checkpoint_unread(c, m, warn, e);
    if (status == 0)
        status = nc_sites_fill(m, m->sites, sources, m->site_count, c, o, e);
    free(sources);
    return status;
}

int nc_weights_load(nc_model *m, nc_safetensors *s, const nc_weights_options *o, nc_buf *warn, nc_error *e)
{
    nc_checkpoint *c = nc_checkpoint_borrow(s);
    int status = nc_weights_read(m, c, o, warn, e);
    nc_checkpoint_close(c);
    return status;
}
