/* weights.c - the memory of a model's sites: planned, allocated, filled, read back. See weights.h. */
#include "load/weights.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/rng.h"
#include "load/checkpoint.h"

struct block { void *p; size_t bytes; };
struct holdings { struct block *block; int count, capacity; nc_checkpoint *files; };

static void release(nc_model *m, void *context)
{
    struct holdings *h = context;
    (void)m;
    for (int i = 0; i < h->count; i++)
        nc_pages_free(h->block[i].p, h->block[i].bytes);
    nc_checkpoint_close(h->files);
    free(h->block);
    free(h);
}

static struct holdings *holdings(nc_model *m)
{
    if (!m->release_context) {
        m->release_context = nc_xcalloc(1, sizeof(struct holdings));
        m->release = release;
    }
    return m->release_context;
}

void *nc_model_alloc(nc_model *m, size_t bytes)
{
    struct holdings *h = holdings(m);
    void *p = nc_pages_alloc(bytes);
    if (!p)
        return NULL;
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 16;
        h->block = nc_xrealloc(h->block, sizeof *h->block * (size_t)h->capacity);
    }
    h->block[h->count++] = (struct block){ p, bytes };
    return p;
}

void nc_model_keep(nc_model *m, nc_checkpoint *c) { holdings(m)->files = c; }

bool nc_site_is_packed(const nc_site *s, const nc_weights_options *o)
{
    return (o->pack && (s->flags & NC_SITE_LINEAR) && o->compute != NC_F64) || nc_site_trains_packed(s, o);
}

bool nc_site_quantizes(const nc_site *s)
{
    int64_t columns = s->shape.rank == 2 ? s->shape.dim[1] : 0;
    return (s->flags & NC_SITE_LINEAR) && s->file_shape.rank == 2 && columns > 0 && columns % NC_GEMM_QK == 0;
}

static nc_dtype value_dtype(const nc_site *s, const nc_weights_options *o)
{
    return o->compute == NC_BF16 && (s->flags & NC_SITE_KEEP_F32) ? NC_F32 : o->compute;
}

bool nc_site_trains_packed(const nc_site *s, const nc_weights_options *o)
{
    return s->trainable && (s->flags & (NC_SITE_LINEAR | NC_SITE_HEAD)) == NC_SITE_LINEAR && s->shape.rank >= 2 && value_dtype(s, o) == NC_BF16;
}

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static size_t packed_bytes(int64_t n, int64_t k) { return (size_t)nc_gemm_panels(n) * nc_gemm_panel_bytes(NC_GEMM_BF16, k); }
static int64_t columns_of(const nc_site *s) { return s->shape.dim[0] ? nc_site_count(s) / s->shape.dim[0] : 0; }

/* Bytes of one site's plain or trained value, master and gradient in the block nc_weights_allocate cuts up. */
static nc_weights_plan site_bytes(const nc_site *s, const nc_weights_options *o)
{
    int64_t n = nc_site_count(s);
    nc_weights_plan p = { 0 };
    nc_dtype t = value_dtype(s, o);
    if (nc_site_trains_packed(s, o))
        p.values = packed_bytes(s->shape.dim[0], columns_of(s)) + packed_bytes(columns_of(s), s->shape.dim[0]);
    else if (!nc_site_is_packed(s, o))
        p.values = rounded(nc_dtype_bytes(t, n));
    if (s->trainable) {
        p.masters = t == NC_BF16 ? rounded((size_t)n * 4) : 0;
        p.gradients = rounded((size_t)n * 4);
    }
    return p;
}

nc_weights_plan nc_weights_bytes(const nc_model *m, const nc_weights_options *o, nc_dtype quantized)
{
    nc_weights_plan sum = { 0 };
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *s = m->sites[i];
        nc_weights_plan p = site_bytes(s, o);
        size_t packed = 0;
        if (nc_site_is_packed(s, o) && !nc_site_trains_packed(s, o)) {
            int64_t columns = columns_of(s);
            nc_dtype stored = quantized == NC_DTYPES || (nc_dtype_get(quantized)->is_quantized && !nc_site_quantizes(s)) ? o->compute : quantized;
            nc_gemm_b_bytes(nc_gemm_kind_for(stored, o->compute == NC_BF16), s->shape.dim[0], columns, &packed, NULL);
            packed = rounded(packed);
        }
        sum.values += p.values + packed;
        sum.masters += p.masters;
        sum.gradients += p.gradients;
    }
    return sum;
}

int nc_weights_allocate(nc_model *m, const nc_weights_options *o, nc_error *e)
{
    nc_weights_plan sum = { 0 };
    for (int i = 0; i < m->site_count; i++) {
        nc_weights_plan p = site_bytes(m->sites[i], o);
        sum.values += p.values;
        sum.masters += p.masters;
        sum.gradients += p.gradients;
    }
    size_t bytes = sum.values + sum.masters + sum.gradients;
    char *at = bytes ? nc_model_alloc(m, bytes) : NULL;
    if (bytes && !at)
        return nc_fail(e, NC_ENOMEM, "%.1f GB for the model's weights and gradients cannot be had; take a smaller model or a smaller dtype, or see whether config.json has the right sizes", (double)bytes / 1e9);
    for (int i = 0; i < m->site_count; i++) {
        nc_site *s = m->sites[i];
        nc_weights_plan p = site_bytes(s, o);
        s->value = (nc_tensor){ value_dtype(s, o), s->shape, p.values && !nc_site_trains_packed(s, o) ? at : NULL };
        if (nc_site_trains_packed(s, o)) {
            s->packed = NC_NEW(m->arena, nc_gemm_b);
            NC_TRY(nc_gemm_b_borrow(s->packed, NC_GEMM_BF16, s->shape.dim[0], columns_of(s), at, e));
            s->packed->turned = at + packed_bytes(s->shape.dim[0], columns_of(s));
        }
        at += p.values;
        s->master = p.masters ? (float *)at : s->trainable && s->value.dtype == NC_F32 ? s->value.data : NULL;
        at += p.masters;
        s->grad = p.gradients ? (float *)at : NULL;
        at += p.gradients;
    }
    return 0;
}

struct convert { const nc_site *s; nc_dtype from, to; const void *values; void *out; bool transposed; int64_t rows, columns; };

static float load_f32(nc_dtype t, const void *p, int64_t i)
{
    switch (t) {
    case NC_F32: { float v; memcpy(&v, (const char *)p + i * 4, 4); return v; }
    case NC_BF16: { uint16_t v; memcpy(&v, (const char *)p + i * 2, 2); return nc_bf16_to_f32(v); }
    case NC_F16: { uint16_t v; memcpy(&v, (const char *)p + i * 2, 2); return nc_f16_to_f32(v); }
    default: return (float)nc_dtype_load(t, p, i);
    }
}

enum { CONVERT_GRAIN = 1 << 16 };

static void convert_part(void *context, int64_t part, int64_t parts, int worker)
{
    const struct convert *c = context;
    int64_t count = c->rows * c->columns, begin = part * CONVERT_GRAIN, end = begin + CONVERT_GRAIN < count ? begin + CONVERT_GRAIN : count;
    (void)parts, (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t from = c->transposed ? i % c->columns * c->rows + i / c->columns : i;
        if (c->to != NC_F32 && c->to != NC_BF16) {
            nc_dtype_store(c->to, c->out, i, nc_dtype_load(c->from, c->values, from));
            continue;
        }
        float v = load_f32(c->from, c->values, from);
        if (c->to == NC_F32)
            ((float *)c->out)[i] = v;
        else
            ((uint16_t *)c->out)[i] = nc_f32_to_bf16(v);
    }
}

static void convert(const nc_site *s, nc_dtype from, const void *values, bool transposed, nc_dtype to, void *out, nc_pool *pool)
{
    int64_t rows = s->shape.rank ? s->shape.dim[0] : 1, count = nc_site_count(s);
    struct convert c = { s, from, to, values, out, transposed, rows, rows ? count / rows : 0 };
    nc_pool_run(pool, (count + CONVERT_GRAIN - 1) / CONVERT_GRAIN, convert_part, &c);
}

struct fresh { nc_site *s; uint64_t seed; float *out; int64_t count; };

static void draw_part(void *context, int64_t part, int64_t parts, int worker)
{
    const struct fresh *f = context;
    int64_t begin = part * CONVERT_GRAIN, end = begin + CONVERT_GRAIN < f->count ? begin + CONVERT_GRAIN : f->count;
    uint64_t name = nc_hash64(f->s->name, strlen(f->s->name), 0);
    (void)parts, (void)worker;
    for (int64_t i = begin; i < end; i += 4) {
        uint32_t u[4];
        nc_philox(f->seed, name, (uint64_t)i / 4, u);
        for (int j = 0; j < 4 && i + j < end; j += 2) {
            double radius = sqrt(-2 * log(((double)u[j] + 1) / 4294967297.0)), angle = 2 * M_PI * (double)u[j + 1] / 4294967296.0;
            f->out[i + j] = (float)(f->s->init_std * radius * cos(angle));
            if (i + j + 1 < end)
                f->out[i + j + 1] = (float)(f->s->init_std * radius * sin(angle));
        }
    }
}

static int init_site(nc_model *m, nc_site *s, uint64_t seed, const nc_weights_options *o, nc_error *e)
{
    int64_t n = nc_site_count(s);
    float *values = nc_xmalloc((size_t)n * sizeof *values + 64);
    if (s->init == NC_INIT_NORMAL) {
        struct fresh f = { s, seed, values, n };
        nc_pool_run(o->pool, (n + CONVERT_GRAIN - 1) / CONVERT_GRAIN, draw_part, &f);
    }
    for (int64_t j = 0; s->init != NC_INIT_NORMAL && j < n; j++)
        values[j] = (float)((s->init == NC_INIT_ONE) + s->init_value);
    int status = nc_site_fill(m, s, NC_F32, values, false, o, e);
    free(values);
    return status;
}

int nc_weights_init(nc_model *m, uint64_t seed, const nc_weights_options *o, nc_error *e)
{
    for (int i = 0; i < m->site_count; i++)
        NC_TRY(init_site(m, m->sites[i], seed, o, e));
    return 0;
}

int nc_weights_init_fresh(nc_model *m, uint64_t seed, const nc_weights_options *o, nc_error *e)
{
    for (int i = 0; i < m->site_count; i++)
        if (m->sites[i]->flags & NC_SITE_FRESH)
            NC_TRY(init_site(m, m->sites[i], seed, o, e));
    return 0;
}

int nc_site_read(const nc_site *s, nc_dtype t, void *out, nc_error *e)
{
    bool back = s->flags & NC_SITE_TRANSPOSED;
    int64_t rows = s->shape.rank ? s->shape.dim[0] : 1, count = nc_site_count(s), columns = rows ? count / rows : 0;
    const void *values = s->master ? (const void *)s->master : s->value.data;
    nc_dtype from = s->master ? NC_F32 : s->value.dtype;
    float *unpacked = NULL;
    int status = 0;
    if (s->packed && !s->master) {
        values = unpacked = nc_xmalloc((size_t)count * 4 + 64);
        from = NC_F32;
        status = nc_gemm_unpack(s->packed, 0, rows, unpacked, NC_F32, e);
    }
    if (status == 0 && back) {
        struct convert c = { s, from, t, values, out, true, columns, rows };
        for (int64_t part = 0; part < (count + CONVERT_GRAIN - 1) / CONVERT_GRAIN; part++)
            convert_part(&c, part, 0, 0);
    } else if (status == 0) {
        convert(s, from, values, false, t, out, NULL);
    }
    free(unpacked);
    return status;
}

int nc_model_train_only(nc_model *m, const char *const *patterns)
{
    int n = 0;
    for (int i = 0; i < m->site_count; i++) {
        nc_site *s = m->sites[i];
        s->trainable = false;
        for (const char *const *p = patterns; p && *p && !(s->flags & NC_SITE_BUFFER); p++)
            if (nc_glob(*p, s->name))
                s->trainable = true;
        n += s->trainable;
    }
    return n;
}

enum { REFRESH_PANELS = 4 };

struct refresh { const nc_kernels *kernels; const nc_site *s; uint16_t *rows; };

static void refresh_part(void *context, int64_t part, int64_t parts, int worker)
{
    const struct refresh *f = context;
    const nc_gemm_b *b = f->s->packed;
    int64_t panel0 = part * REFRESH_PANELS, panel1 = panel0 + REFRESH_PANELS < nc_gemm_panels(b->n) ? panel0 + REFRESH_PANELS : nc_gemm_panels(b->n);
    int64_t row0 = panel0 * NC_GEMM_PANEL, row1 = panel1 * NC_GEMM_PANEL < b->n ? panel1 * NC_GEMM_PANEL : b->n;
    uint16_t *rows = f->rows + worker * REFRESH_PANELS * NC_GEMM_PANEL * b->k;
    (void)parts;
    for (int64_t i = 0; i < (row1 - row0) * b->k; i++)
        rows[i] = nc_f32_to_bf16(f->s->master[row0 * b->k + i]);
    nc_gemm_pack_both(f->kernels, b, rows, panel0, panel1);
}

void nc_site_refresh(nc_site *s, nc_pool *pool, const nc_kernels *kernels)
{
    if (!s->master || s->master == s->value.data)
        return;
    if (!s->packed) {
        convert(s, NC_F32, s->master, false, s->value.dtype, s->value.data, pool);
        return;
    }
    struct refresh f = { kernels, s, nc_xmalloc((size_t)nc_pool_threads(pool) * REFRESH_PANELS * NC_GEMM_PANEL * (size_t)s->packed->k * 2 + 64) };
    nc_pool_run(pool, (nc_gemm_panels(s->packed->n) + REFRESH_PANELS - 1) / REFRESH_PANELS, refresh_part, &f);
    free(f.rows);
}
