/* llava_onevision.c - LLaVA-OneVision (Li et al. 2024): pictures of any resolution, several pictures, and videos, through one tower and one projector.
 *
 *   f = linear_2 act(linear_1 tower(frame))                                                     [side^2, D] for every tile and frame
 *   one picture:      the base tile's rows, then its tiles as one map, unpadded; where the map has over 1.1^2 max side^2 places it is interpolated down; newline after each row
 *   several pictures: each its base tile's rows and one newline
 *   video:            every frame interpolated to ceil(side / 2)^2 rows; one newline at the end
 *
 * Easy to get wrong: all interpolation is bilinear, not antialiased and behind the projector; the new sides are floor(side / sqrt(map / (max side^2))).
 */
#include <math.h>
#include <stdlib.h>

#include "models/anyres.h"
#include "models/media.h"
#include "models/vit.h"

enum { TAPS = 4 };

struct onevision {
    nc_vision_text parts;                    /* first */
    int layer, side, most_tiles;             /* side: of a tile, in patches */
    bool drop_class, bias;
    nc_anyres pinpoints;
    nc_unary activation;
    nc_dense linear_1, linear_2;
    nc_site *newline;
};

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "image_seq_length", "video_seq_length", NULL };
    struct onevision *c = self;
    const char *strategy = nc_config_string(r, "vision_feature_select_strategy", "full"), *ratio = nc_config_string(r, "vision_aspect_ratio", "anyres_max_9");
    c->layer = (int)nc_config_int_any(r, "vision_feature_layer", -1);
    c->activation = (nc_unary)nc_config_activation(r, "projector_hidden_act", "gelu");
    c->bias = nc_config_bool(r, "multimodal_projector_bias", true);
    m->image_token_id = (int)nc_config_int(r, "image_token_index", nc_config_int(r, "image_token_id", 151646));
    m->video_token_id = (int)nc_config_int(r, "video_token_index", nc_config_int(r, "video_token_id", 151647));
    nc_anyres_config(r, "image_grid_pinpoints", &c->pinpoints);
    nc_config_ignore(r, ignored);
    c->drop_class = !strcmp(strategy, "default");
    c->most_tiles = nc_starts_with(ratio, "anyres_max_") ? atoi(ratio + strlen("anyres_max_")) : 0;
    if (c->most_tiles < 1)
        nc_config_mistake(r, "vision_aspect_ratio \"%s\" is not anyres_max_ and a number", ratio);
    if (!nc_vision_text_config(m, &c->parts, r, false))
        return;
    c->side = c->parts.info.image_size / c->parts.info.patch_size;
    if (!c->parts.vision->family->vision)
        nc_config_mistake(r, "a %s gives no rows of patches", c->parts.vision->family->name);
    if (!c->drop_class && c->parts.info.class_rows)
        nc_config_mistake(r, "vision_feature_select_strategy \"%s\" leaves rows that make no square (\"default\" drops the class row)", strategy);
}

static void weights(nc_model *m, void *self)
{
    struct onevision *c = self;
    const int D = m->hidden_size;
    nc_submodel_weights(c->parts.vision);
    nc_weight_scope(m, "multi_modal_projector.");
    c->linear_1 = nc_weight_dense(m, "linear_1", D, c->parts.info.hidden_size, c->bias);
    c->linear_2 = nc_weight_dense(m, "linear_2", D, D, c->bias);
    nc_weight_scope(m, "%s", "");
    c->newline = nc_weight(m, 0, NC_INIT_NORMAL, "image_newline", 1, D, 0, 0);
    c->newline->file_shape = NC_SHAPE(D);
    nc_submodel_weights(c->parts.text);
}

/* ---- which feature rows make the rows of the text ---- */

/* A row of the text: feature rows and their shares; none at a newline. */
struct row { int32_t from[TAPS]; float share[TAPS]; };
struct rows { struct row *p; int32_t base; int count; };      /* p NULL: counted only */

static void put_newline(struct rows *r)
{
    if (r->p)
        r->p[r->count] = (struct row){ { -1, -1, -1, -1 }, { 0 } };
    r->count++;
}

/* The row between four feature rows; x, y in [0, 1): the share of the second column and row. */
static void put(struct rows *r, int32_t upper_left, int32_t upper_right, int32_t lower_left, int32_t lower_right, float x, float y)
{
    struct row row = { { upper_left, upper_right, lower_left, lower_right }, { (1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x } };
    for (int t = 0; t < TAPS; t++)
        row.from[t] = row.share[t] > 0 ? r->base + row.from[t] : -1;
    if (r->p)
        r->p[r->count] = row;
    r->count++;
}

static void put_tile(struct rows *r, const struct onevision *c)
{
    for (int i = 0; i < c->side * c->side; i++)
        put(r, i, i, i, i, 0, 0);
}

/* Source place of an output along an axis: the first neighbour, the second, and the second's share. */
struct place { int first, second; float share; };

static struct place place_of(int i, int in, int out)
{
    float at = ((float)i + 0.5f) * ((float)in / (float)out) - 0.5f;
    at = at < 0 ? 0 : at;
    int first = (int)at < in - 1 ? (int)at : in - 1;
    return (struct place){ first, first + 1 < in ? first + 1 : first, out == in ? 0 : at - (float)first };
}

static int32_t map_row(const struct onevision *c, const nc_anyres_map *m, int y, int x)
{
    y += m->top;
    x += m->left;
    return (1 + y / c->side * m->across + x / c->side) * c->side * c->side + y % c->side * c->side + x % c->side;
}

static void put_map(struct rows *r, const struct onevision *c, const nc_media *media)
{
    const nc_anyres_map m = nc_anyres_map_of(&c->pinpoints, media->original_height, media->original_width, c->parts.info.image_size, c->side);
    const int height = m.height - 2 * m.top, width = m.width - 2 * m.left;
    const double ratio = sqrt((double)height * width / ((double)c->most_tiles * c->side * c->side));
    const int down = ratio > 1.1 ? (int)floor(height / ratio) : height, across = ratio > 1.1 ? (int)floor(width / ratio) : width;
    for (int i = 0; i < down; i++) {
        struct place y = place_of(i, height, down);
        for (int j = 0; j < across; j++) {
            struct place x = place_of(j, width, across);
            put(r, map_row(c, &m, y.first, x.first), map_row(c, &m, y.first, x.second), map_row(c, &m, y.second, x.first), map_row(c, &m, y.second, x.second), x.share, y.share);
        }
        put_newline(r);
    }
}

static void put_video(struct rows *r, const struct onevision *c, int frames)
{
    const int side = c->side, small = (side + 1) / 2;
    for (int f = 0; f < frames; f++)
        for (int i = 0; i < small; i++)
            for (int j = 0; j < small; j++) {
                struct place y = place_of(i, side, small), x = place_of(j, side, small);
                int32_t first = f * side * side;
                put(r, first + y.first * side + x.first, first + y.first * side + x.second, first + y.second * side + x.first, first + y.second * side + x.second, x.share, y.share);
            }
    put_newline(r);
}

static void put_media(struct rows *r, const struct onevision *c, const nc_media *media)
{
    if (media->kind == NC_MEDIA_VIDEO) {
        put_video(r, c, media->count);
        return;
    }
    put_tile(r, c);
    if (media->pictures <= 1 && media->count > 1 && media->original_height > 0 && media->original_width > 0)
        put_map(r, c, media);
    else
        put_newline(r);
}

static int feature_rows(const void *self, const nc_media *media)
{
    const struct onevision *c = self;
    return media->count * c->side * c->side;
}

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    struct rows r = { 0 };
    (void)m;
    put_media(&r, self, media);
    return r.count;
}

/* ---- stages ---- */

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct onevision *c = self;
    const nc_model *v = c->parts.vision;
    (void)m;
    nc_scope_push(b->g, "vision_tower");
    nc_value *x = nc_model_vision(v, b, c->layer, "tower.hidden");
    nc_scope_pop(b->g);
    nc_scope_push(b->g, "multi_modal_projector");
    x = nc_gather_rows(b->g, x, nc_in(b, "media.patches", NC_I32, "media", 0));
    x = nc_unary_op(b->g, c->activation, nc_dense_apply(b, x, c->linear_1));
    x = nc_probe(b, nc_dense_apply(b, x, c->linear_2), "projector.out");
    nc_scope_pop(b->g);
    return x;
}

/* The newline row is spliced where the embedding ends; the decoder splices the rows mixed here. */
static nc_value *newline_point(void *context, nc_build *b, nc_value *x, const char *point)
{
    const struct onevision *c = context;
    return strcmp(point, "embedding.out") ? x : nc_splice_rows(b->g, x, nc_site_value(b, c->newline), nc_in(b, "text.newline", NC_I32, "tokens", 0));
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    if (media) {
        media = nc_gather_weighted(b->g, media, nc_in(b, "text.from", NC_I32, "tokens", TAPS), nc_in(b, "text.share", NC_F32, "tokens", TAPS));
        nc_build_point(b, newline_point, (void *)(uintptr_t)self);
    }
    return nc_vision_text_decoder(m, self, b, media);
}

static int tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    const struct onevision *c = self;
    const nc_vision_info *info = &c->parts.info;
    const int before = info->class_rows + info->register_rows, patches = c->side * c->side;
    NC_TRY(nc_prepare_pictures(batch, info, pictures, count, e));
    int32_t *rows = nc_batch_i32(batch, "media.patches", (int64_t)count * patches, 1);
    for (int p = 0; p < count; p++)
        for (int i = 0; i < patches; i++)
            *rows++ = p * (before + patches) + before + i;
    return 0;
}

/* The splice's table names rows of the text; here they become token's own mixtures of feature rows, or a newline. */
static void mix(const struct onevision *c, nc_batch *batch, const nc_seq *seqs, int count)
{
    const int64_t tokens = nc_batch_count(batch, "tokens");
    int32_t *index = nc_batch_find(batch, "text.media")->data, *from = nc_batch_i32(batch, "text.from", tokens, TAPS), *newline = nc_batch_i32(batch, "text.newline", tokens, 1);
    float *share = nc_batch_f32(batch, "text.share", tokens, TAPS);
    struct rows r = { 0 };
    for (int pass = 0; pass < 2; pass++) {
        r = (struct rows){ pass ? nc_xmalloc(sizeof *r.p * (size_t)(r.count + 1)) : NULL, 0, 0 };
        for (int i = 0; i < count; i++)
            for (int j = 0; j < seqs[i].media_count; j++) {
                put_media(&r, c, &seqs[i].media[j]);
                r.base += feature_rows(c, &seqs[i].media[j]);
            }
    }
    for (int64_t i = 0; i < tokens; i++) {
        static const struct row none = { { -1, -1, -1, -1 }, { 0 } };
        const struct row *row = index[i] >= 0 ? &r.p[index[i]] : &none;
        memcpy(from + i * TAPS, row->from, sizeof row->from);
        memcpy(share + i * TAPS, row->share, sizeof row->share);
        bool empty = row->from[0] < 0 && row->from[1] < 0 && row->from[2] < 0 && row->from[3] < 0;
        newline[i] = index[i] >= 0 && empty ? 0 : -1;
        index[i] = index[i] >= 0 && !empty ? (int32_t)i : -1;
    }
    free(r.p);
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    NC_TRY(nc_vision_text_prepare(m, self, batch, seqs, count, tower_tables, e));
    mix(self, batch, seqs, count);
    return 0;
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct onevision *c = self;
    nc_capacity_pictures(b, &c->parts.info, pictures);
    nc_build_capacity(b, "media", pictures * c->side * c->side);
}

static const char *const ignored_tensors[] = { "*rotary_emb.inv_freq", "*position_ids", NULL };
static const char *const renames[] = { "model.language_model.", "language_model.model.", "lm_head.", "language_model.lm_head.", "model.vision_tower.", "vision_tower.",
                                       "model.multi_modal_projector.", "multi_modal_projector.", "model.image_newline", "image_newline", NULL };

const nc_family nc_family_llava_onevision = {
    .name = "llava_onevision", .architectures = "LlavaOnevisionForConditionalGeneration", .size = sizeof(struct onevision), .config = config, .weights = weights,
    .ignored = ignored_tensors, .renames = renames, .prepare = prepare, .tower = tower, .decoder = decoder, .media_rows = media_rows, .feature_rows = feature_rows,
    .head = nc_vision_text_head, .cache = nc_vision_text_cache, .capacity = capacity, .regime = nc_vision_text_regime,
};
