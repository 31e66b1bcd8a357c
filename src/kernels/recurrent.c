/* recurrent.c - the table of recurrent.h (references, then twins upward) and the scratch its functions need.
 *
 * A backward pass holds the states at chunk boundaries and those of one chunk: of one column, or of one vector of columns (the selective scan's).
 */
#include "kernels/recurrent.h"

NC_FAMILY_FITS(recurrent);

enum { COLUMN = NC_SCAN_UNIT * sizeof(float) };          /* a vector of columns; a double is less */

void nc_recurrent_init(struct nc_recurrent_kernels *t, nc_isa isa)
{
    *t = nc_ref_recurrent;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_recurrent_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_recurrent_avx512(t);
#else
    (void)isa;
#endif
}

static size_t states_held(int64_t rows) { return (size_t)(rows > 0 ? nc_recurrent_chunks(rows) + NC_RECURRENT_CHUNK + 4 : 4); }

size_t nc_conv_scratch(int64_t taps) { return (size_t)taps * NC_CONV_UNIT * 2 * sizeof(double) + 64; }

/* The fast gradient holds every column's state at chunk boundaries, and of one chunk a column's states, q, k, dq, dk, and v, dout, dv. */
size_t nc_linear_scratch(int64_t key, int64_t value, int64_t rows)
{
    const size_t keys = (size_t)key + NC_SCAN_UNIT, R = NC_RECURRENT_CHUNK;

    if (rows == 0)
        return 2 * (size_t)key * COLUMN + 64;
    size_t columns = ((size_t)nc_recurrent_chunks(rows) + 1) * keys * (size_t)value + (5 * R + 1) * keys + 3 * R * (size_t)value;
    size_t plain = states_held(rows) * keys + 2 * R;
    return columns * sizeof(float) + plain * sizeof(double) + 64;
}

size_t nc_selective_scratch(int64_t states, int64_t rows) { return (states_held(rows) + 3) * (size_t)states * COLUMN + 64; }
size_t nc_wkv_scratch(int64_t rows) { return (size_t)(rows + 2) * 3 * COLUMN + 64; }
