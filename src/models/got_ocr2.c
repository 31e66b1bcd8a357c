/* got_ocr2.c - GOT-OCR 2.0 (Wei et al. 2024): SAM's image encoder (Kirillov et al. 2023; ViTDet, Li et al. 2022), two convolutions and a decoder.
 *
 *   x = patches W + pos_embed                                                                          [side^2, Dv]
 *   per layer:  x += proj(attention in windows, or over all), h = layer_norm1 x;   x += lin2 f(lin1(layer_norm2 x))
 *   scores(i, j) = q_i.k_j / sqrt(A) + q_i.rel_h[row i - row j] + q_i.rel_w[column i - column j]
 *   neck: conv 1x1, norm over channels, conv 3x3, norm;   media = linear(conv_upsampler2(conv_upsampler1 x)), each 3x3 of stride 2
 *
 * The relative terms are products too: [q / sqrt(A), q rel_h, q rel_w] . [k, one at j's row, one at j's column], so attention itself knows nothing of them.
 *
 * Easy to get wrong: q is not scaled in the relative terms; what a border window lacks are zero rows put in after layer_norm1, so they have keys (the bias) and are attended.
 */
#include <math.h>

#include "models/media.h"
#include "models/vit.h"
#include "nn/grid.h"

static const double neck_eps = 1e-6;

typedef struct sam_layer { nc_dense norm1, norm2, qkv, proj, lin1, lin2; nc_site *rel_h, *rel_w; bool whole; } sam_layer;
typedef struct sam {
    nc_vision_info info;
    int layers, width, heads, inner, out, window, side;
    double eps;
    nc_unary activation;
    bool qkv_bias, has_position, relative;
    sam_layer *layer;
    nc_dense patch, norm1, norm2;
    nc_site *position, *conv1, *conv2;
} sam;

/* ---- the tower ---- */

static void read_whole(nc_model *m, sam *c, nc_config *r)
{
    static const int usual[] = { 2, 5, 8, 11 };
    const nc_json *list = nc_config_get(r, "global_attn_indexes");
    c->layer = NC_NEW_ARRAY(m->arena, sam_layer, c->layers + 1);
    for (int i = 0; !list && i < NC_COUNT(usual); i++)
        if (usual[i] < c->layers)
            c->layer[usual[i]].whole = true;
    NC_JSON_EACH(item, list) {
        int64_t i = nc_json_int(item, -1);
        if (i >= 0 && i < c->layers)
            c->layer[i].whole = true;
    }
    for (int i = 0; i < c->layers && c->window == 0; i++)
        c->layer[i].whole = true;
}

static void vision_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "attention_dropout", NULL };
    sam *c = self;
    c->layers = nc_config_layers(r, "num_hidden_layers", 12);
    c->width = (int)nc_config_int(r, "hidden_size", 768);
    c->heads = (int)nc_config_int(r, "num_attention_heads", 12);
    c->inner = (int)nc_config_int(r, "mlp_dim", 3072);
    c->out = (int)nc_config_int(r, "output_channels", 256);
    c->window = (int)nc_config_int(r, "window_size", 14);
    c->eps = nc_config_float(r, "layer_norm_eps", 1e-6);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    c->qkv_bias = nc_config_bool(r, "qkv_bias", true);
    c->has_position = nc_config_bool(r, "use_abs_pos", true);
    c->relative = nc_config_bool(r, "use_rel_pos", true);
    c->info = (nc_vision_info){ .image_size = nc_config_side(r, "image_size", 1024), .patch_size = nc_config_side(r, "patch_size", 16), .channels = (int)nc_config_int(r, "num_channels", 3),
                                .layers = c->layers, .hidden_size = c->out };
    nc_config_ignore(r, ignored);
    read_whole(m, c, r);
    m->hidden_size = c->out;
    if (c->heads < 1 || c->width < 1 || c->width % c->heads)
        nc_config_mistake(r, "hidden_size %d is no multiple of num_attention_heads %d", c->width, c->heads);
    if (c->info.patch_size < 1 || c->info.image_size < c->info.patch_size || c->info.image_size > 1 << 14)
        nc_config_mistake(r, "pictures of %d in patches of %d", c->info.image_size, c->info.patch_size);
    else
        c->side = c->info.image_size / c->info.patch_size;
    if (c->window < 0 || c->window > 1 << 10)
        nc_config_mistake(r, "window_size %d", c->window);
}

static void layer_weights(nc_model *m, const sam *c, sam_layer *l)
{
    const int D = c->width, A = D / c->heads, side = l->whole ? c->side : c->window;
    l->norm1 = nc_weight_layer_norm(m, "layer_norm1", D);
    if (c->relative) {
        l->rel_h = nc_weight_table(m, "attn.rel_pos_h", 2 * side - 1, A);
        l->rel_w = nc_weight_table(m, "attn.rel_pos_w", 2 * side - 1, A);
    }
    l->qkv = nc_weight_dense(m, "attn.qkv", 3 * D, D, c->qkv_bias);
    l->proj = nc_weight_dense(m, "attn.proj", D, D, true);
    l->norm2 = nc_weight_layer_norm(m, "layer_norm2", D);
    l->lin1 = nc_weight_dense(m, "mlp.lin1", c->inner, D, true);
    l->lin2 = nc_weight_dense(m, "mlp.lin2", D, c->inner, true);
}

static void vision_weights(nc_model *m, void *self)
{
    sam *c = self;
    const int P = c->info.patch_size;
    nc_weight_scope(m, "%s", "");
    if (c->has_position) {
        c->position = nc_weight_table(m, "pos_embed", (int64_t)c->side * c->side, c->width);
        c->position->file_shape = NC_SHAPE(1, c->side, c->side, c->width);
    }
    c->patch.w = nc_weight_conv(m, "patch_embed.projection.weight", c->width, c->info.channels, P, P);
    c->patch.b = nc_weight_bias(m, "patch_embed.projection.bias", c->width);
    for (int i = 0; i < c->layers; i++) {
        nc_weight_scope(m, "layers.%d.", i);
        layer_weights(m, c, &c->layer[i]);
    }
    nc_weight_scope(m, "neck.");
    c->conv1 = nc_weight_conv(m, "conv1.weight", c->out, c->width, 1, 1);
    c->norm1 = nc_weight_layer_norm(m, "layer_norm1", c->out);
    c->conv2 = nc_weight_conv(m, "conv2.weight", c->out, c->out, 3, 3);
    c->norm2 = nc_weight_layer_norm(m, "layer_norm2", c->out);
}

static void vision_info(const void *self, nc_vision_info *out) { *out = ((const sam *)self)->info; }

/* Rows of a picture in windows, the border filled up. */
static int64_t windowed(const sam *c)
{
    int64_t windows = c->window ? (c->side + c->window - 1) / c->window : 0;
    return windows * windows * c->window * c->window;
}

/* A table with so many numbers for each row of a picture, as rows. */
static nc_value *per_row(nc_build *b, const char *name, nc_dtype t, int64_t rows, int64_t width)
{
    nc_value *x = nc_in(b, name, t, "pictures", rows * width);
    return nc_reshape(b->g, x, width > 1 ? NC_SHAPE(x->shape.dim[0] * rows, width) : NC_SHAPE(x->shape.dim[0] * rows));
}

/* q rel[row i - row j] for each j of a side: the products with the whole table, of which a row takes its columns. q [N*heads, A] -> [N*heads, side]. */
static nc_value *relative(nc_build *b, nc_value *q, nc_site *table, nc_value *columns)
{
    return nc_take_columns(b->g, nc_linear_op(b->g, q, nc_site_value(b, table), NULL, NC_DTYPES), columns);
}

static nc_value *attention(const sam *c, nc_build *b, const sam_layer *l, nc_value *x)
{
    const int D = c->width, A = D / c->heads, side = l->whole ? c->side : c->window;
    const int64_t N = x->shape.dim[0], H = c->heads, rows = l->whole ? (int64_t)c->side * c->side : windowed(c);
    nc_value *qkv = nc_dense_apply(b, x, l->qkv), *q = nc_slice(b->g, qkv, 1, 0, D), *k = nc_slice(b->g, qkv, 1, D, D);
    nc_attend how = { .heads = c->heads, .kv_heads = c->heads, .head_dim = A, .spans = nc_in_spans(b, l->whole ? "vision" : "vision.windows") };
    if (c->relative) {
        nc_value *rows_q = nc_reshape(b->g, q, NC_SHAPE(N * H, A)), *at = per_row(b, l->whole ? "sam.at" : "sam.at.window", NC_F32, rows, 2 * H * side);
        nc_value *h = relative(b, rows_q, l->rel_h, nc_reshape(b->g, per_row(b, l->whole ? "sam.row" : "sam.row.window", NC_I32, rows, H * side), NC_SHAPE(N * H, side)));
        nc_value *w = relative(b, rows_q, l->rel_w, nc_reshape(b->g, per_row(b, l->whole ? "sam.column" : "sam.column.window", NC_I32, rows, H * side), NC_SHAPE(N * H, side)));
        nc_value *rows_k = nc_reshape(b->g, k, NC_SHAPE(N * H, A)), *one = nc_reshape(b->g, nc_cast(b->g, at, nc_graph_compute(b->g)), NC_SHAPE(N * H, 2 * side));
        q = nc_concat(b->g, (nc_value *[]){ nc_affine(b->g, rows_q, 1 / sqrt(A), 0), h, w }, 3, 1);
        k = nc_concat(b->g, (nc_value *[]){ rows_k, one }, 2, 1);
        q = nc_reshape(b->g, q, NC_SHAPE(N, H * (A + 2 * side)));
        k = nc_reshape(b->g, k, NC_SHAPE(N, H * (A + 2 * side)));
        how.scale = 1;
        how.head_dim = A + 2 * side;
    }
    return nc_dense_apply(b, nc_attend_heads(b, q, k, nc_slice(b->g, qkv, 1, 2 * D, D), &how), l->proj);
}

static nc_value *layer(const sam *c, nc_build *b, int i, nc_value *x)
{
    const sam_layer *l = &c->layer[i];
    const int64_t area = (int64_t)c->side * c->side;
    nc_scope_push(b->g, "layers.%d", i);
    nc_block_begin(b->g);
    nc_value *h = nc_point(b, nc_ln(b, x, l->norm1.w, l->norm1.b, c->eps), "attn.in");
    if (!l->whole)
        h = nc_gather_rows(b->g, h, per_row(b, "sam.into", NC_I32, windowed(c), 1));
    h = attention(c, b, l, h);
    if (!l->whole)
        h = nc_gather_rows(b->g, h, per_row(b, "sam.back", NC_I32, area, 1));
    x = nc_add(b->g, x, nc_point(b, h, "attn.out"));
    x = nc_add(b->g, x, nc_mlp(b, c->activation, nc_ln(b, x, l->norm2.w, l->norm2.b, c->eps), l->lin1.w, l->lin1.b, l->lin2.w, l->lin2.b));
    nc_block_end(b->g);
    nc_scope_pop(b->g);
    return nc_probe(b, x, "tower.hidden.%d", i + 1);
}

static nc_grid see(const sam *c, nc_build *b)
{
    const int64_t area = (int64_t)c->side * c->side, width = (int64_t)c->info.channels * c->info.patch_size * c->info.patch_size;
    nc_value *x = nc_cast(b->g, per_row(b, "vision.patches", NC_F32, area, width), nc_graph_compute(b->g));
    x = nc_probe(b, nc_dense_apply(b, x, c->patch), "tower.patch_embed");
    if (c->position)
        x = nc_add(b->g, x, nc_gather_rows(b->g, nc_site_value(b, c->position), per_row(b, "vision.pos", NC_I32, area, 1)));
    nc_probe(b, x, "tower.hidden.0");
    for (int i = 0; i < c->layers; i++)
        x = layer(c, b, i, x);
    nc_grid_window three = nc_window(3, 1, 1), one = nc_window(1, 1, 0);
    nc_grid y = nc_grid_layer_norm(b, nc_grid_conv(b, (nc_grid){ x, c->side, c->side }, c->conv1, NULL, &one), c->norm1.w, c->norm1.b, neck_eps);
    return nc_grid_layer_norm(b, nc_grid_conv(b, y, c->conv2, NULL, &three), c->norm2.w, c->norm2.b, neck_eps);
}

const nc_family nc_family_got_ocr2_vision = {
    .name = "got_ocr2_vision", .architectures = "GotOcr2VisionModel", .size = sizeof(sam), .config = vision_config, .weights = vision_weights, .vision_info = vision_info,
};

/* ---- the whole ---- */

struct got { nc_vision_text parts; int side; nc_site *conv1, *conv2; nc_dense projector; };      /* parts first; side: of the map that becomes rows */

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "image_seq_length", NULL };
    struct got *c = self;
    m->image_token_id = (int)nc_config_int(r, "image_token_index", nc_config_int(r, "image_token_id", 151859));
    nc_config_ignore(r, ignored);
    if (!nc_vision_text_config(m, &c->parts, r, true))
        return;
    if (c->parts.vision->family != &nc_family_got_ocr2_vision) {
        nc_config_mistake(r, "a %s is no tower of GOT's", c->parts.vision->family->name);
        return;
    }
    c->side = c->parts.info.image_size / c->parts.info.patch_size;
    for (int i = 0; i < 2; i++)
        c->side = (c->side - 1) / 2 + 1;
}

static void weights(nc_model *m, void *self)
{
    struct got *c = self;
    const int D = m->hidden_size, C = c->parts.info.hidden_size;
    nc_submodel_weights(c->parts.vision);
    nc_weight_scope(m, "multi_modal_projector.");
    c->conv1 = nc_weight_conv(m, "conv_upsampler1.weight", 2 * C, C, 3, 3);
    c->conv2 = nc_weight_conv(m, "conv_upsampler2.weight", D, 2 * C, 3, 3);
    c->projector = nc_weight_dense(m, "multimodal_projector", D, D, true);
    nc_weight_scope(m, "%s", "");
    nc_submodel_weights(c->parts.text);
}

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    const struct got *c = self;
    (void)m;
    return media->count * c->side * c->side;
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct got *c = self;
    const nc_grid_window half = nc_window(3, 2, 1);
    (void)m;
    nc_scope_push(b->g, "vision_tower");
    nc_grid x = nc_grid_probe(b, see(c->parts.vision->self, b), "tower.neck");
    nc_scope_pop(b->g);
    nc_scope_push(b->g, "multi_modal_projector");
    x = nc_grid_conv(b, nc_grid_conv(b, x, c->conv1, NULL, &half), c->conv2, NULL, &half);
    nc_value *y = nc_probe(b, nc_dense_apply(b, x.rows, c->projector), "projector.out");
    nc_scope_pop(b->g);
    return y;
}

/* ---- host tables ---- */

/* For each row of a square of `side` x `side` and each head: which columns of the relative tables belong to the keys' rows and columns, and where it stands itself as a key. */
static void relative_tables(nc_batch *batch, const sam *c, int64_t squares, int side, const char *row_name, const char *column_name, const char *at_name)
{
    const int64_t n = squares * side * side;
    int32_t *row = nc_batch_i32(batch, row_name, n, (int64_t)c->heads * side), *column = nc_batch_i32(batch, column_name, n, (int64_t)c->heads * side);
    float *at = nc_batch_f32(batch, at_name, n, (int64_t)c->heads * 2 * side);
    for (int64_t i = 0; i < n; i++) {
        int y = (int)(i / side % side), x = (int)(i % side);
        for (int h = 0; h < c->heads; h++, row += side, column += side, at += 2 * side)
            for (int j = 0; j < side; j++) {
                row[j] = y - j + side - 1;
                column[j] = x - j + side - 1;
                at[j] = j == y;
                at[side + j] = j == x;
            }
    }
}

static void window_tables(nc_batch *batch, const sam *c, int pictures)
{
    const int w = c->window, across = (c->side + w - 1) / w, area = c->side * c->side;
    const int64_t each = windowed(c);
    int32_t *into = nc_batch_i32(batch, "sam.into", pictures * each, 1), *back = nc_batch_i32(batch, "sam.back", (int64_t)pictures * area, 1);
    for (int p = 0; p < pictures; p++)
        for (int64_t i = 0; i < each; i++) {
            int window = (int)(i / (w * w)), inner = (int)(i % (w * w)), y = window / across * w + inner / w, x = window % across * w + inner % w;
            bool there = y < c->side && x < c->side;
            into[p * each + i] = there ? p * area + y * c->side + x : -1;
            if (there)
                back[p * area + y * c->side + x] = (int32_t)(p * each + i);
        }
    for (int64_t i = 0; i < pictures * each; i += w * w)
        nc_batch_add_span(batch, "vision.windows", (nc_span){ .q_row = (int32_t)i, .q_rows = w * w, .k_row = (int32_t)i, .k_rows = w * w, .slot = -1, .sight = NC_SIGHT_FULL });
}

static int tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    const struct got *g = self;
    const sam *c = g->parts.vision->self;
    bool wholes = false, windows = false;
    for (int i = 0; i < c->layers; i++) {
        wholes = wholes || c->layer[i].whole;
        windows = windows || !c->layer[i].whole;
    }
    NC_TRY(nc_prepare_pictures(batch, &c->info, pictures, count, e));
    nc_batch_set_count(batch, "pictures", count);
    if (windows)
        window_tables(batch, c, count);
    if (c->relative && wholes)
        relative_tables(batch, c, count, c->side, "sam.row", "sam.column", "sam.at");
    if (c->relative && windows)
        relative_tables(batch, c, count * (windowed(c) / (c->window * c->window)), c->window, "sam.row.window", "sam.column.window", "sam.at.window");
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    return nc_vision_text_prepare(m, self, batch, seqs, count, tower_tables, e);
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct got *c = self;
    nc_build_capacity(b, "pictures", pictures);
    nc_build_capacity(b, "media", pictures * c->side * c->side);
}

static const char *const ignored_tensors[] = { "*rotary_emb.inv_freq", NULL };
static const char *const renames[] = { "model.language_model.", "language_model.model.", "lm_head.", "language_model.lm_head.", "model.vision_tower.", "vision_tower.",
                                       "model.multi_modal_projector.", "multi_modal_projector.", NULL };

const nc_family nc_family_got_ocr2 = {
    .name = "got_ocr2", .architectures = "GotOcr2ForConditionalGeneration", .size = sizeof(struct got), .config = config, .weights = weights, .ignored = ignored_tensors,
    .renames = renames, .prepare = prepare, .tower = tower, .decoder = nc_vision_text_decoder, .media_rows = media_rows, .head = nc_vision_text_head,
    .cache = nc_vision_text_cache, .capacity = capacity, .regime = nc_vision_text_regime,
};
