/* tensor.c - arithmetic of shapes. Sizes are checked where they come from outside (nc_shape_bytes). */
#include "tensor/tensor.h"
#include <stdio.h>

nc_shape nc_shape_of(int rank, const int64_t *dims)
{
    nc_shape s = { .rank = rank > NC_MAX_RANK ? NC_MAX_RANK : rank < 0 ? 0 : rank };

    for (int i = 0; i < s.rank; i++)
        s.dim[i] = dims[i];
    return s;
}

int64_t nc_shape_count(const nc_shape *s)
{
    int64_t n = 1;

    for (int i = 0; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

bool nc_shape_equal(const nc_shape *a, const nc_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

char *nc_shape_str(const nc_shape *s, char out[96])
{
    size_t n = 0;

    out[n++] = '[';
    for (int i = 0; i < s->rank && n < 90; i++)
        n += (size_t)snprintf(out + n, 96 - n, "%s%lld", i ? ", " : "", (long long)s->dim[i]);
    if (n > 94)
        n = 94;
    out[n++] = ']';
    out[n] = 0;
    return out;
}

bool nc_shape_broadcast(const nc_shape *a, const nc_shape *b, nc_shape *out)
{
    nc_shape s = { .rank = a->rank > b->rank ? a->rank : b->rank };

    for (int i = 1; i <= s.rank; i++) {
        int64_t x = i <= a->rank ? a->dim[a->rank - i] : 1, y = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (x != y && x != 1 && y != 1)
            return false;
        s.dim[s.rank - i] = x == 1 ? y : x;
    }
    *out = s;
    return true;
}

int nc_shape_bytes(const nc_shape *s, nc_dtype t, size_t *bytes)
{
    const nc_dtype_info *info = nc_dtype_get(t);
    size_t n = 1;

    if (nc_shape_last(s) % info->block != 0 || (s->rank == 0 && info->block != 1))
        return NC_ESHAPE;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] < 0)
            return NC_ESHAPE;
        if (!nc_mul_size(n, (size_t)s->dim[i], &n) || n > INT64_MAX)
            return NC_ELIMIT;
    }
    n /= (size_t)info->block;
    return nc_mul_size(n, (size_t)info->bytes, bytes) && *bytes <= INT64_MAX ? 0 : NC_ELIMIT;
}
