/* head.c - the table of head.h, and the merging of chunks. */
#include "kernels/head.h"

NC_FAMILY_FITS(head);

void nc_head_init(struct nc_head_kernels *t, nc_isa isa)
{
    *t = nc_ref_head;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_head_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_head_avx512(t);
    if (isa < NC_ISA_AVX512BF16)
        return;
    nc_head_avx512bf16(t);
#else
    (void)isa;
#endif
}

void nc_head_merge(nc_head_state *s, float max, float sum)
{
    float most = max > s->max ? max : s->max;
    if (most == -INFINITY)                       /* nothing but -inf so far */
        return;
    s->sum = s->sum * expf(s->max - most) + sum * expf(max - most);
    s->max = most;
}

float nc_head_logsumexp(const nc_kernels *kernels, const float *l, int64_t vocabulary)
{
    nc_head_state s = NC_HEAD_START;
    for (int64_t c = 0; c < vocabulary; c += NC_HEAD_CHUNK) {
        int64_t n = vocabulary - c < NC_HEAD_CHUNK ? vocabulary - c : NC_HEAD_CHUNK;
        float max = kernels->head->logits((float *)l + c, n, 1, 0);       /* scale 1 without a cap writes nothing */
        nc_head_merge(&s, max, kernels->head->exps(NULL, NC_F32, l + c, n, max, 0, false));
    }
    return nc_head_lse(s);
}

void nc_head_finish(const nc_kernels *kernels, float *x, int64_t vocabulary, float scale, float cap)
{
    kernels->head->logits(x, vocabulary, scale, cap);
}
