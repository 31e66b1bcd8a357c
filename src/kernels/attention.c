/* attention.c - the table of attention.h (references, then twins upward), and what all of them share: checks of spans, appending to pages, counting. */
#include "kernels/attention.h"

NC_FAMILY_FITS(attention);

void nc_attention_init(struct nc_attention_kernels *t, nc_isa isa)
{
    *t = nc_ref_attention;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_attention_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_attention_avx512(t);
    if (isa < NC_ISA_AVX512BF16)
        return;
    nc_attention_avx512bf16(t);
    if (isa < NC_ISA_AMX)
        return;
    nc_attention_amx(t);
#else
    (void)isa;
#endif
}

static bool within(int64_t start, int64_t count, int64_t limit) { return start >= 0 && count >= 0 && start <= limit && count <= limit - start; }

int nc_attention_check(const nc_attention_args *a, nc_error *e)
{
    const nc_attention_shape *d = &a->shape;
    int64_t free_row = 0;

    if (d->bias_rows > 0 && (a->soft_cap > 0 || !a->q_code != !a->k_code || (d->paged && a->q_code)))
        return nc_fail(e, NC_EINVAL, "attention: a bias with %s", a->soft_cap > 0 ? "a soft cap" : d->paged ? "codes of rows over a cache" : "codes of one side alone");
    for (int i = 0; i < a->spans; i++) {
        const nc_attention_span *s = &a->span[i];
        if (!within(s->q_row, s->q_rows, d->rows) || !within(s->k_row, s->k_rows, d->keys))
            return nc_fail(e, NC_ESHAPE, "attention: span %d has query rows %lld+%lld of %lld live, key rows %lld+%lld of %lld live", i, (long long)s->q_row,
                           (long long)s->q_rows, (long long)d->rows, (long long)s->k_row, (long long)s->k_rows, (long long)d->keys);
        if (s->q_row < free_row)
            return nc_fail(e, NC_EINVAL, "attention: span %d starts at query row %lld, but rows up to %lld belong to spans before it; order spans by row", i,
                           (long long)s->q_row, (long long)free_row);
        free_row = s->q_row + s->q_rows;
        if (s->q_index < 0 || s->q_index > INT32_MAX || (d->paged && s->slot < 0))
            return nc_fail(e, NC_EINVAL, "attention: span %d has index %lld, slot %d%s", i, (long long)s->q_index, s->slot, d->paged ? " of a cache" : "");
        int64_t keys = nc_attention_keys(s, d->paged);
        if (s->sight == NC_ATTENTION_PREFIX && s->q_rows > 0 && s->q_index < s->prefix && (s->prefix > s->q_index + s->q_rows || s->prefix > keys))
            return nc_fail(e, NC_EINVAL, "attention: span %d has rows %lld..%lld of a prefix of %lld with %lld keys; a prefix is never cut", i, (long long)s->q_index,
                           (long long)(s->q_index + s->q_rows - 1), (long long)s->prefix, (long long)keys);
    }
    return 0;
}

double nc_attention_flops(const nc_attention_args *a)
{
    double seen = 0;

    for (int i = 0; i < a->spans; i++) {
        const nc_attention_span *s = &a->span[i];
        int64_t keys = nc_attention_keys(s, a->shape.paged), first, last;
        for (int64_t t = 0; t < s->q_rows; t++) {
            nc_attention_sees(s, keys, a->window, s->q_index + t, &first, &last);
            seen += last >= first ? (double)(last - first + 1) : 0;
        }
    }
    return seen * 2 * a->shape.heads * (a->shape.head + a->shape.value_head);
}

void nc_attention_append(const nc_attention_shape *s, void *key_page, void *value_page, int64_t index, int kv_head, const void *k, const void *v)
{
    const int64_t j = index % NC_ATTENTION_BLOCK, A = s->head, V = s->value_head;

    if (s->dtype == NC_F32) {
        float *keys = (float *)key_page + kv_head * A * NC_ATTENTION_BLOCK + j;
        for (int64_t c = 0; c < A; c++)
            keys[c * NC_ATTENTION_BLOCK] = ((const float *)k)[c];
        memcpy((float *)value_page + (kv_head * NC_ATTENTION_BLOCK + j) * V, v, (size_t)V * 4);
        return;
    }
    const uint16_t *key = k, *value = v;
    uint32_t *keys = (uint32_t *)key_page + kv_head * ((A + 1) / 2) * NC_ATTENTION_BLOCK + j;
    uint16_t *values = (uint16_t *)value_page + (kv_head * NC_ATTENTION_BLOCK / 2 + j / 2) * V * 2 + j % 2;
    for (int64_t c = 0; c < A / 2; c++)
        keys[c * NC_ATTENTION_BLOCK] = key[2 * c] | (uint32_t)key[2 * c + 1] << 16;
    if (A % 2)
        keys[A / 2 * NC_ATTENTION_BLOCK] = key[A - 1];
    for (int64_t c = 0; c < V; c++)
        values[2 * c] = value[c];
}
