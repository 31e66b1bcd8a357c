/* lora.c - the low-rank pair: how it enters a linear use, how it starts, how it is folded back. */
#include "adapt/lora.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/rng.h"

nc_lora *nc_lora_new(void)
{
    nc_arena *a = nc_arena_new();
    nc_lora *l = NC_NEW(a, nc_lora);
    l->arena = a;
    return l;
}

static void detach(nc_lora_pair *p)
{
    for (nc_adapter **at = &p->target->adapters; *at; at = &(*at)->next)
        if (*at == &p->adapter) {
            *at = p->adapter.next;
            return;
        }
}

void nc_lora_free(nc_lora *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->count; i++)
        detach(l->pair[i]);
    if (l->memory)
        nc_pages_free(l->memory, l->bytes);
    free(l->pair);
    nc_arena_free(l->arena);
}

static nc_value *apply(nc_adapter *adapter, nc_build *b, nc_site *s, nc_value *x, nc_value *y)
{
    nc_lora_pair *p = (nc_lora_pair *)adapter;
    (void)s;
    nc_value *h = p->dropout > 0 && b->training ? nc_dropout(b->g, x, p->dropout, p->site_id) : x;
    h = nc_linear_op(b->g, h, nc_site_value(b, &p->a), NULL, NC_DTYPES);
    h = nc_linear_op(b->g, h, nc_site_value(b, &p->b), NULL, NC_DTYPES);
    return nc_add(b->g, y, nc_affine(b->g, h, p->scale, 0));
}

static void factor(nc_lora *l, nc_site *s, const char *module, const char *which, int64_t rows, int64_t columns, int index)
{
    *s = (nc_site){ .name = nc_arena_printf(l->arena, "%s.%s.weight", module, which), .shape = NC_SHAPE(rows, columns), .file_shape = NC_SHAPE(rows, columns),
                    .flags = NC_SITE_LINEAR, .trainable = true, .index = index };
}

int nc_lora_attach(nc_lora *l, nc_site *target, const char *module, int r, double alpha, bool rslora, double dropout, nc_error *e)
{
    if (!(target->flags & NC_SITE_LINEAR) || target->shape.rank != 2)
        return nc_fail(e, NC_EUNSUPPORTED, "LoRA adapts linear weights; %s is none", target->name);
    if (r < 1 || r > target->shape.dim[0] + target->shape.dim[1])
        return nc_fail(e, NC_EINVAL, "LoRA of rank %d on %s", r, target->name);
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->pair = nc_xrealloc(l->pair, sizeof *l->pair * (size_t)l->capacity);
    }
    nc_lora_pair *p = NC_NEW(l->arena, nc_lora_pair);
    *p = (nc_lora_pair){ .adapter = { apply, target->adapters }, .target = target, .alpha = alpha, .scale = alpha / (rslora ? sqrt(r) : r), .dropout = dropout,
                         .site_id = (uint32_t)nc_hash64(module, strlen(module), 0) };
    factor(l, &p->a, module, "lora_A", r, target->shape.dim[1], 2 * l->count);
    factor(l, &p->b, module, "lora_B", target->shape.dim[0], r, 2 * l->count + 1);
    target->adapters = &p->adapter;
    l->pair[l->count++] = p;
    return 0;
}

static size_t rounded(size_t n) { return (n + 63) & ~(size_t)63; }

static size_t factor_bytes(const nc_site *s, nc_dtype compute, bool train)
{
    size_t n = (size_t)nc_site_count(s);
    return rounded(nc_dtype_bytes(compute, (int64_t)n)) + (train ? rounded(4 * n) * (compute == NC_BF16 ? 2 : 1) : 0);
}

size_t nc_lora_bytes(const nc_lora *l, nc_dtype compute, bool train)
{
    size_t sum = 0;
    for (int i = 0; i < l->count; i++)
        sum += factor_bytes(&l->pair[i]->a, compute, train) + factor_bytes(&l->pair[i]->b, compute, train);
    return sum;
}

static char *place(nc_site *s, char *at, nc_dtype compute, bool train)
{
    size_t n = (size_t)nc_site_count(s);
    s->trainable = train;
    s->value = (nc_tensor){ compute, s->shape, at };
    at += rounded(nc_dtype_bytes(compute, (int64_t)n));
    s->master = compute == NC_F32 ? s->value.data : NULL;
    if (train && compute == NC_BF16) {
        s->master = (float *)at;
        at += rounded(4 * n);
    }
    if (train) {
        s->grad = (float *)at;
        at += rounded(4 * n);
    }
    return at;
}

int nc_lora_allocate(nc_lora *l, nc_dtype compute, bool train, nc_error *e)
{
    l->bytes = nc_lora_bytes(l, compute, train);
    char *at = l->memory = l->bytes ? nc_pages_alloc(l->bytes) : NULL;
    if (l->bytes && !at)
        return nc_fail(e, NC_ENOMEM, "%.1f GB for adapters are not to be had", (double)l->bytes / 1e9);
    for (int i = 0; i < l->count; i++) {
        at = place(&l->pair[i]->a, at, compute, train);
        at = place(&l->pair[i]->b, at, compute, train);
    }
    return 0;
}

void nc_lora_fill(nc_site *s, const float *values)
{
    int64_t n = nc_site_count(s);
    for (int64_t i = 0; i < n; i++)
        nc_dtype_store(s->value.dtype, s->value.data, i, values[i]);
    if (s->master && (void *)s->master != s->value.data)
        memcpy(s->master, values, sizeof *values * (size_t)n);
}

void nc_lora_init(nc_lora *l, uint64_t seed)
{
    for (int i = 0; i < l->count; i++) {
        nc_site *a = &l->pair[i]->a, *b = &l->pair[i]->b;
        int64_t na = nc_site_count(a), nb = nc_site_count(b);
        float *values = nc_xcalloc((size_t)(na > nb ? na : nb), sizeof *values);
        nc_lora_fill(b, values);
        double bound = 1 / sqrt((double)a->shape.dim[1]);
        nc_rng r = nc_rng_new(seed, nc_hash64(a->name, strlen(a->name), 0));
        for (int64_t j = 0; j < na; j++)
            values[j] = (float)((2 * nc_rng_uniform(&r) - 1) * bound);
        nc_lora_fill(a, values);
        free(values);
    }
}

static float *as_floats(const nc_site *s)
{
    int64_t n = nc_site_count(s);
    float *out = nc_xmalloc(sizeof *out * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        out[i] = s->master ? s->master[i] : (float)nc_dtype_load(s->value.dtype, s->value.data, i);
    return out;
}

void nc_lora_add_delta(const nc_lora_pair *p, float *w)
{
    int64_t out = p->b.shape.dim[0], in = p->a.shape.dim[1], r = p->a.shape.dim[0];
    float *a = as_floats(&p->a), *b = as_floats(&p->b), *row = nc_xmalloc(sizeof *row * (size_t)in);
    for (int64_t i = 0; i < out; i++) {
        memset(row, 0, sizeof *row * (size_t)in);
        for (int64_t k = 0; k < r; k++)
            for (int64_t j = 0; j < in; j++)
                row[j] += b[i * r + k] * a[k * in + j];
        for (int64_t j = 0; j < in; j++)
            w[i * in + j] += (float)p->scale * row[j];
    }
    free(a);
    free(b);
    free(row);
}
