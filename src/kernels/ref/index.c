/* ref/index.c - the definitions of index.h. */
#include "kernels/index.h"
#include "kernels/ref/scalar.h"

static void axpy(nc_slot slot, void *acc, const void *x, double s, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        nc_wide_put(slot, acc, i, nc_wide_get(slot, acc, i) + s * nc_slot_get(slot, x, i));
}

static double dot(nc_slot slot, const void *a, const void *b, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += nc_slot_get(slot, a, i) * nc_slot_get(slot, b, i);
    return sum;
}

NC_EACH_SLOT(axpy, (void *acc, const void *x, double s, int64_t n), axpy(NC_SLOT_F32, acc, x, s, n), axpy(NC_SLOT_BF16, acc, x, s, n), axpy(NC_SLOT_F64, acc, x, s, n))
static double dot_f32(const void *a, const void *b, int64_t n) { return dot(NC_SLOT_F32, a, b, n); }
static double dot_bf16(const void *a, const void *b, int64_t n) { return dot(NC_SLOT_BF16, a, b, n); }
static double dot_f64(const void *a, const void *b, int64_t n) { return dot(NC_SLOT_F64, a, b, n); }

const struct nc_index_kernels nc_ref_index = { .axpy = NC_SLOT_TABLE(axpy), .dot = NC_SLOT_TABLE(dot) };
