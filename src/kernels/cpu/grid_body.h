/* grid_body.h - grid.h over vectors of channels; included by grid_avx2.c and grid_avx512.c, which define ISA(name).
 *
 * Depthwise cells in the inside of a row are made four at a time, so that a weight is loaded once for four cells; every cell adds its products in the order of the
 * kernel's cells either way, and skips those outside.
 */
#include "kernels/cpu/simd.h"
#include "kernels/grid.h"

NC_INLINE vf get(bool h, const void *p, int64_t i, int64_t n) { return n >= NC_VL ? v_get(h, p, i) : v_get_n(h, p, i, n); }
NC_INLINE vf load(const float *p, int64_t n) { return n >= NC_VL ? v_load(p) : v_load_n(p, n); }
NC_INLINE void put(bool h, void *p, int64_t i, vf a, int64_t n)
{
    if (n >= NC_VL)
        v_put(h, p, i, a);
    else
        v_put_n(h, p, i, a, n);
}
NC_INLINE void store(float *p, vf a, int64_t n)
{
    if (n >= NC_VL)
        v_store(p, a);
    else
        v_store_n(p, a, n);
}
NC_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- columns ---- */

enum { MOST_CELLS = 64, MOST_KERNEL = NC_GRID_KERNEL, ZEROS = 256 };
static const float zeros[ZEROS];                 /* what a cell outside the picture reads */

/* n channels: cell k of channel c is from[k][c]. Rows are written in order, read from K places that all stay in L1. */
NC_INLINE void interleave(bool h, int64_t K, void *y, const void *const *from, int64_t n)
{
    for (int64_t c = 0; c < n; c++)
        for (int64_t k = 0; k < K; k++) {
            if (h)
                ((uint16_t *)y)[c * K + k] = ((const uint16_t *)from[k])[c];
            else
                ((float *)y)[c * K + k] = ((const float *)from[k])[c];
        }
}

/* Channels of one kernel cell to every K-th place of the row: large kernels. */
NC_INLINE void spread(bool h, void *to, const void *from, int64_t C, int64_t K)
{
    for (int64_t c = 0; c < C; c++) {
        if (h)
            ((uint16_t *)to)[c * K] = from ? ((const uint16_t *)from)[c] : 0;
        else
            ((float *)to)[c * K] = from ? ((const float *)from)[c] : 0;
    }
}

/* Where each kernel cell of an output cell reads; NULL outside. */
NC_INLINE void find_cells(const char *x, const nc_grid_shape *s, int64_t p, int64_t size, const char **cell)
{
    const nc_grid_range r = nc_grid_inside(s, 0, p / s->out[1]), q = nc_grid_inside(s, 1, p % s->out[1]);
    const int64_t across = s->dilation[1] * s->channels * size, down = s->dilation[0] * s->in[1] * s->channels * size;
    const char *row = x + (r.start * s->in[1] + q.start) * s->channels * size - q.from * across;
    for (int64_t i = 0; i < s->kernel[0]; i++) {
        const bool inside = i >= r.from && i < r.to;
        for (int64_t j = 0; j < s->kernel[1]; j++)
            *cell++ = inside && j >= q.from && j < q.to ? row + j * across : NULL;
        row += inside ? down : 0;
    }
}

NC_INLINE void columns_row(bool h, char *y, const char *x, const nc_grid_shape *s, int64_t p, const char **cell)
{
    const int64_t K = nc_grid_cells(s->kernel), C = s->channels, size = h ? 2 : 4;
    const void *from[MOST_CELLS];
    find_cells(x, s, p, size, cell);
    if (K > MOST_CELLS) {
        for (int64_t k = 0; k < K; k++)
            spread(h, y + k * size, cell[k], C, K);
        return;
    }
    if (K == 1 && cell[0]) {
        memcpy(y, cell[0], (size_t)(C * size));
        return;
    }
    for (int64_t c = 0; c < C; c += ZEROS) {
        for (int64_t k = 0; k < K; k++)
            from[k] = cell[k] ? cell[k] + c * size : (const char *)zeros;
        if (K == 9)
            interleave(h, 9, y + c * K * size, from, least(C - c, ZEROS));
        else
            interleave(h, K, y + c * K * size, from, least(C - c, ZEROS));
    }
}

NC_INLINE void columns_body(bool h, char *y, const void *x, const nc_grid_shape *s, int64_t first, int64_t last)
{
    const int64_t row = nc_grid_cells(s->kernel) * s->channels * (h ? 2 : 4);
    const char *cell[MOST_KERNEL];
    for (int64_t p = first; p < last; p++, y += row)
        columns_row(h, y, x, s, p, cell);
}

NC_INLINE void uncolumns_body(bool h, void *dx, const void *y, const nc_grid_shape *s, int64_t first, int64_t last)
{
    enum { BLOCK = 128 };
    const int64_t K = nc_grid_cells(s->kernel), C = s->channels;
    float sum[BLOCK];

    for (int64_t i = first; i < last; i++)
        for (int64_t c0 = 0; c0 < C; c0 += BLOCK) {
            const int64_t n = least(C - c0, BLOCK);
            memset(sum, 0, sizeof sum);
            for (int64_t kh = 0; kh < s->kernel[0]; kh++)
                for (int64_t kw = 0; kw < s->kernel[1]; kw++) {
                    const int64_t ph = nc_grid_seer(s, 0, i / s->in[1], kh), pw = nc_grid_seer(s, 1, i % s->in[1], kw);
                    const int64_t at = ((ph * s->out[1] + pw) * C + c0) * K + kh * s->kernel[1] + kw;
                    for (int64_t c = 0; ph >= 0 && pw >= 0 && c < n; c++)
                        sum[c] += v_get1(h, y, at + c * K);
                }
            for (int64_t c = 0; c < n; c += NC_VL)
                put(h, dx, (i - first) * C + c0 + c, load(sum + c, n - c), n - c);
        }
}

/* ---- depthwise ---- */

/* `cells` neighbouring output cells (1 or 4) of `vectors` vectors of channels (1, 2 or 4; the last one holds n of them) from c on; their windows have the same kernel
 * columns inside. Sums are independent chains, enough of them to fill the multipliers. */
NC_INLINE void depth_cells(bool h, int cells, int vectors, void *y, int64_t to, const void *x, const float *w, const float *bias, const nc_grid_shape *s, nc_grid_range r, nc_grid_range q, int64_t c, int64_t n)
{
    const int64_t C = s->channels, step = s->stride[1] * C;
    vf sum[8];

    for (int v = 0; v < vectors; v++)
        for (int e = 0; e < cells; e++)
            sum[v * cells + e] = bias ? load(bias + c + v * NC_VL, n - v * NC_VL) : v_zero();
    for (int64_t i = r.from; i < r.to; i++) {
        int64_t at = ((r.start + (i - r.from) * s->dilation[0]) * s->in[1] + q.start) * C + c;
        for (int64_t j = q.from; j < q.to; j++, at += s->dilation[1] * C)
            for (int v = 0; v < vectors; v++) {
                const vf k = load(w + (i * s->kernel[1] + j) * C + c + v * NC_VL, n - v * NC_VL);
                for (int e = 0; e < cells; e++)
                    sum[v * cells + e] = v_fma(k, get(h, x, at + e * step + v * NC_VL, n - v * NC_VL), sum[v * cells + e]);
            }
    }
    for (int v = 0; v < vectors; v++)
        for (int e = 0; e < cells; e++)
            put(h, y, to + e * C + c + v * NC_VL, sum[v * cells + e], n - v * NC_VL);
}

/* All channels of one or four cells. */
NC_INLINE void depth_channels(bool h, int cells, void *y, int64_t to, const void *x, const float *w, const float *bias, const nc_grid_shape *s, nc_grid_range r, nc_grid_range q)
{
    enum { WIDE = NC_VL };
    const int many = cells == 1 ? 4 : 2;
    int64_t c = 0;
    for (; c + many * WIDE <= s->channels; c += many * WIDE)
        depth_cells(h, cells, many, y, to, x, w, bias, s, r, q, c, many * WIDE);
    for (; c + WIDE <= s->channels; c += WIDE)
        depth_cells(h, cells, 1, y, to, x, w, bias, s, r, q, c, WIDE);
    if (c < s->channels)
        depth_cells(h, cells, 1, y, to, x, w, bias, s, r, q, c, s->channels - c);
}

NC_INLINE void depth_body(bool h, void *y, const void *x, const float *w, const float *bias, const nc_grid_shape *s, int64_t first, int64_t last)
{
    const int64_t W = s->out[1];

    for (int64_t p = first; p < last;) {
        const nc_grid_range r = nc_grid_inside(s, 0, p / W), q = nc_grid_inside(s, 1, p % W);
        bool four = p % W + 4 <= W && p + 4 <= last && q.to - q.from == s->kernel[1];
        if (four) {
            const nc_grid_range end = nc_grid_inside(s, 1, p % W + 3);
            four = end.to - end.from == s->kernel[1];
        }
        if (four)
            depth_channels(h, 4, y, (p - first) * s->channels, x, w, bias, s, r, q);
        else
            depth_channels(h, 1, y, (p - first) * s->channels, x, w, bias, s, r, q);
        p += four ? 4 : 1;
    }
}

NC_INLINE void depth_dx_body(bool h, void *dx, const void *dy, const float *w, const nc_grid_shape *s, int64_t first, int64_t last)
{
    const int64_t C = s->channels;

    for (int64_t i = first; i < last; i++)
        for (int64_t c = 0; c < C; c += NC_VL) {
            const int64_t n = C - c;
            vf sum = v_zero();
            for (int64_t kh = 0; kh < s->kernel[0]; kh++) {
                const int64_t ph = nc_grid_seer(s, 0, i / s->in[1], kh);
                for (int64_t kw = 0; ph >= 0 && kw < s->kernel[1]; kw++) {
                    const int64_t pw = nc_grid_seer(s, 1, i % s->in[1], kw);
                    if (pw >= 0)
                        sum = v_fma(load(w + (kh * s->kernel[1] + kw) * C + c, n), get(h, dy, (ph * s->out[1] + pw) * C + c, n), sum);
                }
            }
            put(h, dx, (i - first) * C + c, sum, n);
        }
}

/* One kernel cell, one vector of channels: rows of the output are summed alone, then added up. */
NC_INLINE vf dw_cell(bool h, const void *x, const void *dy, const nc_grid_shape *s, int64_t kh, int64_t kw, int64_t c, int64_t n)
{
    const int64_t C = s->channels;
    vf total = v_zero();

    for (int64_t i = 0; i < s->out[0]; i++) {
        const int64_t row = i * s->stride[0] - s->before[0] + kh * s->dilation[0], shift = kw * s->dilation[1] - s->before[1];
        int64_t from = shift < 0 ? (-shift + s->stride[1] - 1) / s->stride[1] : 0, to = s->in[1] > shift ? (s->in[1] - shift + s->stride[1] - 1) / s->stride[1] : 0;
        vf sum = v_zero();
        if (row < 0 || row >= s->in[0])
            continue;
        for (int64_t j = from; j < least(to, s->out[1]); j++)
            sum = v_fma(get(h, dy, (i * s->out[1] + j) * C + c, n), get(h, x, (row * s->in[1] + j * s->stride[1] + shift) * C + c, n), sum);
        total = v_add(total, sum);
    }
    return total;
}

NC_INLINE void depth_dw_body(bool h, float *dw, const void *x, const void *dy, const nc_grid_shape *s, int64_t from, int64_t to)
{
    for (int64_t c = from; c < to; c += NC_VL)
        for (int64_t k = 0; k < nc_grid_cells(s->kernel); k++) {
            float *at = dw + k * s->channels + c;
            store(at, v_add(load(at, to - c), dw_cell(h, x, dy, s, k / s->kernel[1], k % s->kernel[1], c, to - c)), to - c);
        }
}

/* ---- pooling ---- */

NC_INLINE void pool_body(bool h, void *y, const void *x, const nc_grid_shape *s, bool average, int64_t first, int64_t last)
{
    const int64_t C = s->channels;

    for (int64_t p = first; p < last; p++) {
        const nc_grid_range r = nc_grid_inside(s, 0, p / s->out[1]), q = nc_grid_inside(s, 1, p % s->out[1]);
        const vf cells = v_set((float)((r.to - r.from) * (q.to - q.from)));
        for (int64_t c = 0; c < C; c += NC_VL) {
            vf best = v_set(average ? 0 : -__builtin_inff());
            for (int64_t i = r.from; i < r.to; i++)
                for (int64_t j = q.from; j < q.to; j++) {
                    const int64_t cell = (r.start + (i - r.from) * s->dilation[0]) * s->in[1] + q.start + (j - q.from) * s->dilation[1];
                    const vf v = get(h, x, cell * C + c, C - c);
                    best = average ? v_add(best, v) : v_select(v_isnan(v), v, v_select(v_lt(best, v), v, best));
                }
            put(h, y, (p - first) * C + c, average ? v_div(best, cells) : best, C - c);
        }
    }
}

#define STORAGE(suffix, h)                                                                                                                                     \
    static void columns_##suffix(void *y, const void *x, const nc_grid_shape *s, int64_t first, int64_t last) { columns_body(h, y, x, s, first, last); }       \
    static void uncolumns_##suffix(void *dx, const void *y, const nc_grid_shape *s, int64_t first, int64_t last) { uncolumns_body(h, dx, y, s, first, last); } \
    static void depth_##suffix(void *y, const void *x, const void *w, const void *bias, const nc_grid_shape *s, int64_t first, int64_t last)                   \
    {                                                                                                                                                          \
        depth_body(h, y, x, w, bias, s, first, last);                                                                                                          \
    }                                                                                                                                                          \
    static void depth_dx_##suffix(void *dx, const void *dy, const void *w, const nc_grid_shape *s, int64_t first, int64_t last)                                \
    {                                                                                                                                                          \
        depth_dx_body(h, dx, dy, w, s, first, last);                                                                                                           \
    }                                                                                                                                                          \
    static void depth_dw_##suffix(void *dw, const void *x, const void *dy, const nc_grid_shape *s, int64_t from, int64_t to)                                   \
    {                                                                                                                                                          \
        depth_dw_body(h, dw, x, dy, s, from, to);                                                                                                              \
    }                                                                                                                                                          \
    static void pool_##suffix(void *y, const void *x, const nc_grid_shape *s, bool average, int64_t first, int64_t last)                                       \
    {                                                                                                                                                          \
        pool_body(h, y, x, s, average, first, last);                                                                                                           \
    }
STORAGE(f32, false)
STORAGE(bf16, true)

void ISA(nc_grid)(struct nc_grid_kernels *t)
{
#define SET(name) t->name[NC_SLOT_F32] = name##_f32, t->name[NC_SLOT_BF16] = name##_bf16
    SET(columns), SET(uncolumns), SET(depth), SET(depth_dx), SET(depth_dw), SET(pool);
#undef SET
}
