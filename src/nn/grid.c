/* grid.c - see grid.h. */
#include "nn/grid.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static nc_grid with(nc_grid x, nc_value *rows) { return (nc_grid){ rows, x.height, x.width }; }
static bool is_poison(nc_build *b, nc_grid x) { return x.rows == nc_graph_poison(b->g); }
static int64_t pictures(nc_grid x) { return x.rows->shape.dim[0] / nc_grid_area(x); }

nc_grid nc_grid_in(nc_build *b, int channels)
{
    const int64_t height = b->picture_height, width = b->picture_width;
    if (height < 1 || width < 1 || channels < 1 || height > INT32_MAX / width / channels) {
        nc_graph_mistake(b->g, NC_EINVAL, "a program over pictures of %d channels was made for a size of %lld x %lld", channels, (long long)height, (long long)width);
        return (nc_grid){ nc_graph_poison(b->g), 1, 1 };
    }
    nc_value *x = nc_cast(b->g, nc_in(b, "grid.pixels", NC_F32, "pictures", channels * height * width), nc_graph_compute(b->g));
    x = nc_permute(b->g, nc_reshape(b->g, x, NC_SHAPE(x->shape.dim[0], channels, height * width)), (int[]){ 0, 2, 1 });
    return (nc_grid){ nc_reshape(b->g, x, NC_SHAPE(x->shape.dim[0] * height * width, channels)), height, width };
}

nc_grid_window nc_window(int kernel, int stride, int pad)
{
    return (nc_grid_window){ .kernel = { kernel, kernel }, .stride = { stride, stride }, .before = { pad, pad }, .after = { pad, pad } };
}

static nc_grid sized(nc_build *b, nc_grid x, const nc_grid_window *w, nc_value *rows)
{
    nc_grid y = { rows, 1, 1 };
    if (!is_poison(b, y))
        nc_grid_out(w, x.height, x.width, &y.height, &y.width);
    return y;
}

static bool is_plain(const nc_grid_window *w)
{
    return w->kernel[0] == 1 && w->kernel[1] == 1 && w->stride[0] <= 1 && w->stride[1] <= 1 && !(w->before[0] | w->before[1] | w->after[0] | w->after[1]);
}

nc_grid nc_grid_conv(nc_build *b, nc_grid x, nc_site *w, nc_site *bias, const nc_grid_window *window)
{
    nc_grid_window in = *window;
    const int64_t C = nc_grid_channels(x), each = w->file_shape.dim[1], groups = each > 0 ? C / each : 0;
    for (int i = 0; i < 2; i++)
        in.kernel[i] = (int)w->file_shape.dim[2 + i];
    if (is_poison(b, x))
        return x;
    if (groups < 1 || C % each || w->shape.dim[0] % groups) {
        nc_graph_mistake(b->g, NC_ESHAPE, "%s does not fit a grid of %lld channels", w->name, (long long)C);
        return with(x, nc_graph_poison(b->g));
    }
    if (groups == C && w->shape.dim[0] == C)
        return sized(b, x, &in, nc_grid_depth_op(b->g, x.rows, nc_site_value(b, w), nc_site_value(b, bias), x.height, x.width, &in));
    nc_value *columns = is_plain(&in) ? x.rows : nc_grid_columns_op(b->g, x.rows, x.height, x.width, &in);
    if (groups == 1)
        return sized(b, x, &in, nc_linear(b, columns, w, bias));
    nc_value *y = nc_group_linear_op(b->g, columns, nc_site_value(b, w), (int)groups);
    return sized(b, x, &in, bias ? nc_add(b->g, y, nc_site_value(b, bias)) : y);
}

nc_grid nc_grid_batch_norm(nc_build *b, nc_grid x, const nc_batch_norm *n)
{
    const bool frozen = n->frozen || b->frozen || !b->training;
    nc_value *mean = nc_site_value(b, n->mean), *var = nc_site_value(b, n->var);
    nc_value *w = nc_site_value(b, n->w), *bias = nc_site_value(b, n->b);
    if (n->frozen && b->training) {
        w = nc_stop_gradient(b->g, w);
        bias = nc_stop_gradient(b->g, bias);
    }
    nc_value *y = nc_batch_norm_op(b->g, x.rows, w, bias, frozen ? mean : NULL, frozen ? var : NULL, n->eps, frozen);
    if (!frozen && !nc_graph_failed(b->g)) {
        nc_running_op(b->g, mean, nc_output(y, 1), n->momentum);
        nc_running_op(b->g, var, nc_output(y, 2), n->momentum);
        if (nc_site_is_there(n->batches))
            nc_running_op(b->g, nc_site_value(b, n->batches), NULL, 0);
    }
    return with(x, y);
}

nc_grid nc_grid_layer_norm(nc_build *b, nc_grid x, nc_site *w, nc_site *bias, double eps) { return with(x, nc_ln(b, x.rows, w, bias, eps)); }
nc_grid nc_grid_linear(nc_build *b, nc_grid x, nc_site *w, nc_site *bias) { return with(x, nc_linear(b, x.rows, w, bias)); }
nc_grid nc_grid_unary(nc_build *b, nc_unary kind, nc_grid x) { return with(x, nc_unary_op(b->g, kind, x.rows)); }
nc_grid nc_grid_add(nc_build *b, nc_grid x, nc_grid y) { return with(x, nc_add(b->g, x.rows, y.rows)); }

nc_grid nc_grid_pool(nc_build *b, nc_grid x, const nc_grid_window *window, bool average)
{
    return is_poison(b, x) ? x : sized(b, x, window, nc_grid_pool_op(b->g, x.rows, x.height, x.width, window, average));
}

/* [pictures, cells, channels] */
static nc_value *by_picture(nc_build *b, nc_grid x) { return nc_reshape(b->g, x.rows, NC_SHAPE(pictures(x), nc_grid_area(x), nc_grid_channels(x))); }

nc_value *nc_grid_mean(nc_build *b, nc_grid x) { return is_poison(b, x) ? x.rows : nc_mean(b->g, by_picture(b, x), 1, false); }

nc_grid nc_grid_gate(nc_build *b, nc_grid x, nc_value *gate)
{
    if (is_poison(b, x) || gate == nc_graph_poison(b->g))
        return with(x, nc_graph_poison(b->g));
    nc_value *y = nc_mul(b->g, by_picture(b, x), nc_reshape(b->g, gate, NC_SHAPE(pictures(x), 1, nc_grid_channels(x))));
    return with(x, nc_reshape(b->g, y, x.rows->shape));
}

/* ---- bilinear resize ---- */

nc_grid_tap nc_grid_tap_of(int64_t i, int64_t in, int64_t out)
{
    double at = ((double)i + 0.5) * ((double)in / (double)out) - 0.5;
    at = at < 0 ? 0 : at;
    int64_t low = (int64_t)at < in - 1 ? (int64_t)at : in - 1;
    return (nc_grid_tap){ low, low < in - 1 ? low + 1 : low, at - (double)low };
}

static void fill_taps(nc_grid x, int64_t height, int64_t width, int64_t n, int32_t *index, float *share)
{
    for (int64_t p = 0; p < n; p++)
        for (int64_t i = 0; i < height * width; i++, index += 4, share += 4) {
            const nc_grid_tap v = nc_grid_tap_of(i / width, x.height, height), h = nc_grid_tap_of(i % width, x.width, width);
            const int64_t row[] = { v.low, v.high }, column[] = { h.low, h.high };
            const double down[] = { 1 - v.share, v.share }, across[] = { 1 - h.share, h.share };
            for (int j = 0; j < 4; j++) {
                index[j] = (int32_t)(p * nc_grid_area(x) + row[j / 2] * x.width + column[j % 2]);
                share[j] = (float)(down[j / 2] * across[j % 2]);
            }
        }
}

/* A table of the graph's own, four columns for each row of the result. */
static nc_value *constant_table(nc_build *b, nc_grid like, nc_dtype t, int64_t cells)
{
    const int64_t n = pictures(like);
    nc_value *v = nc_input(b->g, "taps", t, NC_SHAPE(n, cells * 4), like.rows->count);
    v->data = nc_arena_alloc(nc_graph_arena(b->g), (size_t)(n * cells) * 16);
    return nc_reshape(b->g, v, NC_SHAPE(n * cells, 4));
}

nc_grid nc_grid_resize(nc_build *b, nc_grid x, int64_t height, int64_t width)
{
    if (is_poison(b, x) || (height == x.height && width == x.width))
        return x;
    nc_value *index = constant_table(b, x, NC_I32, height * width), *share = constant_table(b, x, NC_F32, height * width);
    if (nc_graph_failed(b->g))
        return with(x, nc_graph_poison(b->g));
    fill_taps(x, height, width, pictures(x), index->base->data, share->base->data);
    return (nc_grid){ nc_gather_weighted(b->g, x.rows, index, nc_cast(b->g, share, nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32)), height, width };
}

/* ---- planes, probes ---- */

nc_value *nc_grid_planes(nc_build *b, nc_grid x)
{
    if (is_poison(b, x))
        return x.rows;
    nc_value *y = nc_permute(b->g, by_picture(b, x), (int[]){ 0, 2, 1 });
    return nc_reshape(b->g, y, NC_SHAPE(pictures(x), nc_grid_channels(x), x.height, x.width));
}

nc_grid nc_grid_probe(nc_build *b, nc_grid x, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (b->probes && !is_poison(b, x))
        nc_probe(b, nc_grid_planes(b, x), "%s", name);
    return x;
}

/* ---- host ---- */

/* Each picture in the upper left corner of height x width. */
static void lay_pictures(nc_batch *batch, int channels, const nc_pixels *pictures, int count, int64_t height, int64_t width)
{
    float *to = nc_batch_f32(batch, "grid.pixels", count, channels * height * width);
    nc_batch_set_count(batch, "pictures", count);
    memset(to, 0, sizeof *to * (size_t)(count * channels * height * width));
    for (int i = 0; i < count; i++) {
        const nc_pixels *p = &pictures[i];
        for (int64_t k = 0; k < (int64_t)channels * p->height; k++)
            memcpy(to + ((i * channels + k / p->height) * height + k % p->height) * width, p->data + k * p->width, sizeof *to * (size_t)p->width);
    }
}

static int check_picture(const nc_pixels *p, int i, int channels, nc_error *e)
{
    if (p->channels == channels && p->height > 0 && p->width > 0)
        return 0;
    return nc_fail(e, NC_ESHAPE, "picture %d is %d x %d x %d (channels, height, width); %d channels are needed", i, p->channels, p->height, p->width, channels);
}

/* One picture a sequence; the caller frees. */
static int one_each(const nc_seq *seqs, int count, nc_pixels **out, nc_error *e)
{
    nc_pixels *p = *out = nc_xcalloc((size_t)count + 1, sizeof *p);
    for (int i = 0; i < count; i++) {
        if (seqs[i].media_count != 1 || seqs[i].media[0].count != 1)
            return nc_fail(e, NC_EINVAL, "sample %d has no picture or several", i);
        p[i] = seqs[i].media[0].frames[0];
    }
    return 0;
}

int nc_prepare_grid_padded(nc_batch *batch, int channels, const nc_seq *seqs, int count, int64_t *height, int64_t *width, nc_error *e)
{
    nc_pixels *p;
    int status = one_each(seqs, count, &p, e);
    *height = *width = 1;
    for (int i = 0; i < count && status == 0; i++) {
        status = check_picture(&p[i], i, channels, e);
        *height = p[i].height > *height ? p[i].height : *height;
        *width = p[i].width > *width ? p[i].width : *width;
    }
    if (status == 0)
        lay_pictures(batch, channels, p, count, *height, *width);
    free(p);
    return status;
}

int nc_prepare_grid_pictures(nc_batch *batch, int channels, const nc_pixels *p, int count, nc_error *e)
{
    for (int i = 0; i < count; i++) {
        NC_TRY(check_picture(&p[i], i, channels, e));
        if (p[i].height != p[0].height || p[i].width != p[0].width)
            return nc_fail(e, NC_ESHAPE, "picture %d is %d x %d, the first one %d x %d; a step takes one size", i, p[i].width, p[i].height, p[0].width, p[0].height);
    }
    lay_pictures(batch, channels, p, count, count ? p[0].height : 1, count ? p[0].width : 1);
    return 0;
}

int nc_prepare_grid(nc_batch *batch, int channels, const nc_seq *seqs, int count, nc_error *e)
{
    nc_pixels *p;
    int status = one_each(seqs, count, &p, e);
    if (status == 0)
        status = nc_prepare_grid_pictures(batch, channels, p, count, e);
    free(p);
    return status;
}
