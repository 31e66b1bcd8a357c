/* davit.c - see davit.h. */
#include "models/davit.h"

#include <math.h>
#include <stdio.h>

static const double eps = 1e-5;

/* ---- config ---- */

/* One number a stage under a key; of another length, or not from `least` on: a mistake. */
static void stage_ints(nc_davit *c, nc_config *r, const char *key, const int usual[4], int least, size_t member)
{
    int *list, n = nc_config_ints(r, key, usual, 4, &list);
    if (n != c->stages)
        nc_config_mistake(r, "\"%s\" has %d numbers for %d stages", key, n, c->stages);
    for (int s = 0; s < c->stages; s++) {
        const int v = s < n ? list[s] : least;
        if (v < least || v > 1 << 16)
            nc_config_mistake(r, "\"%s\": %d is no such number", key, v);
        *(int *)((char *)&c->stage[s] + member) = v;
    }
}

static void norm_places(nc_davit *c, nc_config *r)
{
    const nc_json *list = nc_config_get(r, "patch_prenorm");
    if (list && (!nc_json_is(list, NC_JSON_ARRAY) || list->count != c->stages))
        nc_config_mistake(r, "\"patch_prenorm\" must be %d times true or false", c->stages);
    for (int s = 0; s < c->stages; s++)
        c->stage[s].norm_first = nc_json_is(list, NC_JSON_ARRAY) && s < list->count ? nc_json_bool(nc_json_at(list, s), s > 0) : s > 0;
}

void nc_davit_config(nc_davit *c, nc_config *r)
{
    static const char *const ignored[] = { "drop_path_rate", "enable_checkpoint", NULL };
    static const int widths[] = { 128, 256, 512, 1024 }, depths[] = { 1, 1, 9, 1 }, heads[] = { 4, 8, 16, 32 }, kernels[] = { 7, 3, 3, 3 }, strides[] = { 4, 2, 2, 2 }, pads[] = { 3, 1, 1, 1 };
    const char *width_key = nc_config_get(r, "dim_embed") ? "dim_embed" : "embed_dim";
    int *list;
    c->stages = nc_config_ints(r, width_key, widths, 4, &list);
    if (c->stages < 1 || c->stages > NC_DAVIT_STAGES) {
        nc_config_mistake(r, "\"%s\" must be 1 to %d whole numbers", width_key, NC_DAVIT_STAGES);
        c->stages = 0;
        return;
    }
    stage_ints(c, r, width_key, widths, 1, offsetof(nc_davit_stage, width));
    stage_ints(c, r, "depths", depths, 0, offsetof(nc_davit_stage, depth));
    stage_ints(c, r, "num_heads", heads, 1, offsetof(nc_davit_stage, heads));
    stage_ints(c, r, "num_groups", heads, 1, offsetof(nc_davit_stage, groups));
    stage_ints(c, r, "patch_size", kernels, 1, offsetof(nc_davit_stage, kernel));
    stage_ints(c, r, "patch_stride", strides, 1, offsetof(nc_davit_stage, stride));
    stage_ints(c, r, "patch_padding", pads, 0, offsetof(nc_davit_stage, pad));
    norm_places(c, r);
    c->channels = (int)nc_config_int(r, "in_channels", 3);
    c->window = (int)nc_config_int(r, "window_size", 12);
    c->mlp_ratio = nc_config_float(r, "mlp_ratio", 4);
    c->qkv_bias = nc_config_bool(r, "qkv_bias", true);
    c->activation = (nc_unary)nc_config_activation(r, "activation_function", "gelu");
    nc_config_ignore(r, ignored);
    if (c->channels < 1 || c->window < 1 || c->window > 256 || !(c->mlp_ratio > 0 && c->mlp_ratio < 256))
        nc_config_mistake(r, "in_channels %d, window_size %d, mlp_ratio %g", c->channels, c->window, c->mlp_ratio);
    for (int s = 0; s < c->stages; s++) {
        nc_davit_stage *t = &c->stage[s];
        if (t->width % t->heads || t->width % t->groups)
            nc_config_mistake(r, "stage %d is %d wide, no multiple of its %d heads or %d groups", s, t->width, t->heads, t->groups);
        t->depth = t->depth > NC_MAX_LAYERS ? 0 : t->depth;
    }
}

/* ---- weights ---- */

static nc_dense depthwise_weights(nc_model *m, const char *name, int width)
{
    nc_dense d = { .w = nc_weight_grid(m, nc_arena_printf(m->arena, "%s.weight", name), width, width, width, 3, 3) };
    d.b = nc_weight_bias(m, nc_arena_printf(m->arena, "%s.bias", name), width);
    return d;
}

static void half_weights(nc_model *m, const nc_davit *c, const nc_davit_stage *t, nc_davit_half *l, const char *attention)
{
    const int D = t->width, F = (int)(D * c->mlp_ratio);
    l->conv1 = depthwise_weights(m, "conv1", D);
    l->norm1 = nc_weight_layer_norm(m, "norm1", D);
    l->qkv = nc_weight_dense(m, nc_arena_printf(m->arena, "%s.qkv", attention), 3 * (int64_t)D, D, c->qkv_bias);
    l->proj = nc_weight_dense(m, nc_arena_printf(m->arena, "%s.proj", attention), D, D, true);
    l->conv2 = depthwise_weights(m, "conv2", D);
    l->norm2 = nc_weight_layer_norm(m, "norm2", D);
    l->fc1 = nc_weight_dense(m, "ffn.fc1", F, D, true);
    l->fc2 = nc_weight_dense(m, "ffn.fc2", D, F, true);
}

void nc_davit_weights(nc_model *m, nc_davit *c, const char *prefix)
{
    for (int s = 0, in = c->channels; s < c->stages; in = c->stage[s++].width) {
        nc_davit_stage *t = &c->stage[s];
        nc_weight_scope(m, "%sconvs.%d.", prefix, s);
        t->conv.w = nc_weight_conv(m, "conv.weight", t->width, in, t->kernel, t->kernel);
        t->conv.b = nc_weight_bias(m, "conv.bias", t->width);
        t->norm = nc_weight_layer_norm(m, "norm", t->norm_first ? in : t->width);
    }
    for (int s = 0; s < c->stages; s++) {
        nc_davit_stage *t = &c->stage[s];
        t->half = NC_NEW_ARRAY(m->arena, nc_davit_half, 2 * t->depth + 1);
        for (int i = 0; i < 2 * t->depth; i++) {
            nc_weight_scope(m, "%sblocks.%d.%d.%s.", prefix, s, i / 2, i % 2 ? "channel_block" : "spatial_block");
            half_weights(m, c, t, &t->half[i], i % 2 ? "channel_attn" : "window_attn");
        }
    }
}

/* ---- host tables ---- */

bool nc_davit_cells(const nc_davit *c, int stage, int height, int width, int64_t *down, int64_t *across)
{
    *down = height;
    *across = width;
    for (int s = 0; s <= stage; s++) {
        nc_grid_window w = nc_window(c->stage[s].kernel, c->stage[s].stride, c->stage[s].pad);
        if (!nc_grid_out(&w, *down, *across, down, across))
            return false;
    }
    return true;
}

static int64_t windows_along(const nc_davit *c, int64_t cells) { return (cells + c->window - 1) / c->window; }
static int64_t window_cells(const nc_davit *c, int64_t down, int64_t across) { return windows_along(c, down) * windows_along(c, across) * c->window * c->window; }

/* The windows of `count` pictures at a stage, row by row: the cell of each of their places, or -1 beyond the edge; and the place of each cell. */
static void windows(const nc_davit *c, nc_batch *batch, int stage, int64_t down, int64_t across, int count)
{
    char rows_name[32], back_name[32], spans[32];
    const int64_t side = c->window, places = window_cells(c, down, across), columns = windows_along(c, across);
    snprintf(rows_name, sizeof rows_name, "davit.%d.rows", stage);
    snprintf(back_name, sizeof back_name, "davit.%d.back", stage);
    snprintf(spans, sizeof spans, "davit.%d", stage);
    int32_t *rows = nc_batch_i32(batch, rows_name, count, places), *back = nc_batch_i32(batch, back_name, count, down * across);
    for (int64_t i = 0; i < count * places; i++) {
        const int64_t p = i / places, window = i % places / (side * side), cell = i % (side * side);
        const int64_t y = window / columns * side + cell / side, x = window % columns * side + cell % side, at = (p * down + y) * across + x;
        const bool real = y < down && x < across;
        rows[i] = real ? (int32_t)at : -1;
        if (real)
            back[at] = (int32_t)i;
        if (cell == 0)
            nc_batch_add_span(batch, spans, (nc_span){ .q_row = (int32_t)i, .q_rows = (int32_t)(side * side), .k_row = (int32_t)i, .k_rows = (int32_t)(side * side), .slot = -1,
                                                       .sight = NC_SIGHT_FULL });
    }
}

int nc_davit_prepare(const nc_davit *c, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    NC_TRY(nc_prepare_grid_pictures(batch, c->channels, pictures, count, e));
    for (int s = 0; s < c->stages && count; s++) {
        int64_t down, across;
        if (!nc_davit_cells(c, s, pictures[0].height, pictures[0].width, &down, &across))
            return nc_fail(e, NC_ESHAPE, "a picture of %d x %d is too small for the tower's stage %d", pictures[0].width, pictures[0].height, s);
        if (count * window_cells(c, down, across) > INT32_MAX)
            return nc_fail(e, NC_ELIMIT, "%d pictures of %d x %d are too large for one step", count, pictures[0].width, pictures[0].height);
        windows(c, batch, s, down, across, count);
    }
    return 0;
}

/* ---- forward ---- */

static nc_grid depthwise(nc_build *b, nc_grid x, nc_dense conv)
{
    const nc_grid_window around = nc_window(3, 1, 1);
    return nc_grid_add(b, nc_grid_conv(b, x, conv.w, conv.b, &around), x);
}

static nc_value *window_attention(const nc_davit *c, nc_build *b, int stage, const nc_davit_half *l, nc_grid x)
{
    const nc_davit_stage *t = &c->stage[stage];
    const int64_t places = window_cells(c, x.height, x.width);
    char rows[32], back[32], spans[32];
    snprintf(rows, sizeof rows, "davit.%d.rows", stage);
    snprintf(back, sizeof back, "davit.%d.back", stage);
    snprintf(spans, sizeof spans, "davit.%d", stage);
    nc_value *to = nc_in(b, rows, NC_I32, "pictures", places), *from = nc_in(b, back, NC_I32, "pictures", nc_grid_area(x)), *part[3];
    if (nc_graph_failed(b->g))
        return x.rows;
    nc_value *h = nc_gather_rows(b->g, x.rows, nc_reshape(b->g, to, NC_SHAPE(to->shape.dim[0] * places)));
    h = nc_dense_apply(b, h, l->qkv);
    for (int i = 0; i < 3; i++)
        part[i] = nc_slice(b->g, h, 1, (int64_t)i * t->width, t->width);
    h = nc_attend_heads(b, part[0], part[1], part[2], &(nc_attend){ .heads = t->heads, .kv_heads = t->heads, .head_dim = t->width / t->heads, .spans = nc_in_spans(b, spans) });
    return nc_dense_apply(b, nc_gather_rows(b->g, h, nc_reshape(b->g, from, x.rows->shape.rank ? NC_SHAPE(x.rows->shape.dim[0]) : x.rows->shape)), l->proj);
}

static nc_value *channel_attention(nc_build *b, const nc_davit_stage *t, const nc_davit_half *l, nc_grid x)
{
    static const int swap[] = { 0, 2, 1, 3 };
    const int64_t cells = nc_grid_area(x), G = t->groups, c = t->width / t->groups;
    const nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    nc_value *h = nc_dense_apply(b, x.rows, l->qkv), *part[3];
    if (nc_graph_failed(b->g))
        return x.rows;
    const int64_t n = h->shape.dim[0] / cells;
    h = nc_permute(b->g, nc_reshape(b->g, h, NC_SHAPE(n, cells, 3 * G, c)), swap);               /* [n, 3 groups, cells, c] */
    for (int i = 0; i < 3; i++)
        part[i] = nc_slice(b->g, h, 1, i * G, G);
    nc_value *scores = nc_softmax(b->g, nc_affine(b->g, nc_matmul(b->g, part[0], true, part[1], false, wide), 1 / sqrt((double)cells), 0));
    h = nc_matmul(b->g, part[2], false, nc_cast(b->g, scores, nc_graph_compute(b->g)), true, NC_DTYPES);   /* [n, groups, cells, c] */
    return nc_dense_apply(b, nc_reshape(b->g, nc_permute(b->g, h, swap), x.rows->shape), l->proj);
}

static nc_grid half(const nc_davit *c, nc_build *b, int stage, int i, nc_grid x)
{
    const nc_davit_half *l = &c->stage[stage].half[i];
    x = depthwise(b, x, l->conv1);
    nc_grid h = nc_grid_layer_norm(b, x, l->norm1.w, l->norm1.b, eps);
    h.rows = nc_point(b, h.rows, "attn.in");
    h.rows = i % 2 ? channel_attention(b, &c->stage[stage], l, h) : window_attention(c, b, stage, l, h);
    h.rows = nc_point(b, h.rows, "attn.out");
    x = depthwise(b, nc_grid_add(b, x, h), l->conv2);
    h = nc_grid_layer_norm(b, x, l->norm2.w, l->norm2.b, eps);
    h.rows = nc_mlp(b, c->activation, h.rows, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b);
    return nc_grid_add(b, x, h);
}

nc_grid nc_davit_cells_of(const nc_davit *c, nc_build *b)
{
    nc_grid x = nc_grid_in(b, c->channels);
    for (int s = 0; s < c->stages; s++) {
        const nc_davit_stage *t = &c->stage[s];
        const nc_grid_window w = nc_window(t->kernel, t->stride, t->pad);
        x = t->norm_first ? nc_grid_layer_norm(b, x, t->norm.w, t->norm.b, eps) : x;
        x = nc_grid_conv(b, x, t->conv.w, t->conv.b, &w);
        x = t->norm_first ? x : nc_grid_layer_norm(b, x, t->norm.w, t->norm.b, eps);
        x = nc_grid_probe(b, x, "tower.conv.%d", s);
        for (int i = 0; i < 2 * t->depth; i++) {
            nc_scope_push(b->g, "blocks.%d.%d.%s", s, i / 2, i % 2 ? "channel" : "spatial");
            nc_block_begin(b->g);
            x = half(c, b, s, i, x);
            nc_block_end(b->g);
            nc_scope_pop(b->g);
        }
    }
    return x;
}
