/* ref/rope.c - the definitions of rope.h, in double. */
#include "kernels/rope.h"
#include "kernels/ref/scalar.h"

#include <math.h>

static void rotate(nc_slot slot, void *y, int64_t y_head, const void *x, int64_t x_head, const void *cosine, const void *sine, const nc_rope_shape *s)
{
    for (int64_t h = 0; h < s->heads; h++) {
        const int64_t from = h * x_head, to = h * y_head;
        for (int64_t i = 0; i < s->half; i++) {
            int64_t u = s->neighbours ? 2 * i : i, v = s->neighbours ? 2 * i + 1 : i + s->half;
            double a = nc_slot_get(slot, x, from + u), b = nc_slot_get(slot, x, from + v), c = nc_wide_get(slot, cosine, i), t = nc_wide_get(slot, sine, i);
            t = s->inverse ? -t : t;
            nc_slot_put(slot, y, to + u, a * c - b * t);
            nc_slot_put(slot, y, to + v, b * c + a * t);
        }
        for (int64_t i = 2 * s->half; i < s->width; i++)
            nc_slot_put(slot, y, to + i, nc_slot_get(slot, x, from + i));
    }
}

static float angle(const int32_t *position, const nc_rope_freqs *f, int i) { return (float)position[f->axis_of ? f->axis_of[i] : 0] * f->inv_freq[i]; }

static void table_f32(float *cosine, float *sine, const int32_t *position, const nc_rope_freqs *f)
{
    for (int i = 0; i < f->half; i++) {
        double a = angle(position, f, i);
        cosine[i] = (float)cos(a) * (float)f->factor;
        sine[i] = (float)sin(a) * (float)f->factor;
    }
}

static void table_f64(double *cosine, double *sine, const int32_t *position, const nc_rope_freqs *f)
{
    for (int i = 0; i < f->half; i++) {
        double a = angle(position, f, i);
        cosine[i] = cos(a) * f->factor;
        sine[i] = sin(a) * f->factor;
    }
}

NC_EACH_SLOT(rotate, (void *y, int64_t yh, const void *x, int64_t xh, const void *c, const void *s, const nc_rope_shape *k),
             rotate(NC_SLOT_F32, y, yh, x, xh, c, s, k), rotate(NC_SLOT_BF16, y, yh, x, xh, c, s, k), rotate(NC_SLOT_F64, y, yh, x, xh, c, s, k))

const struct nc_rope_kernels nc_ref_rope = { .rotate = NC_SLOT_TABLE(rotate), .table_f32 = table_f32, .table_f64 = table_f64 };
