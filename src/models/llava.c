/* llava.c - LLaVA 1.5 (Liu et al. 2023), LLaVA-NeXT and LLaVA-NeXT-Video (Liu et al. 2024): a tower's rows, projected, take the places of the placeholders in the text.
 *
 *   f = tower(pixels) at vision_feature_layer, class row dropped ("default") or kept ("full")     [pictures*rows, Dv]
 *   video: each frame's grid of rows averaged stride x stride (spatial_pool_stride)
 *   media = linear_2(gelu(linear_1 f))                                                            [media rows, D]
 *   hidden = decoder(text with media rows spliced in); NeXT: a picture's tiles as one map, unpadded, image_newline after each row of it
 *
 * Easy to get wrong: feature layer -2 is the output of the last but one block, before post_layernorm; a frame's pooling comes before the projector.
 */
#include "models/anyres.h"
#include "models/model.h"

#include <stdlib.h>

struct llava {
    nc_model *vision, *text;
    nc_vision_info info;
    int feature_layer, pool;
    bool drop_class, bias, is_next;        /* is_next: AnyRes pictures and image_newline */
    nc_anyres pinpoints;
    nc_unary activation;
    nc_site *linear_1, *bias_1, *linear_2, *bias_2, *newline;
};

static void common_config(nc_model *m, struct llava *c, nc_config *r)
{
    static const char *const ignored[] = { "image_seq_length", "video_seq_length", "use_image_newline_parameter", NULL };
    c->vision = nc_submodel(m, r, "vision_config", "vision_tower.");
    c->text = nc_submodel(m, r, "text_config", "language_model.");
    c->feature_layer = (int)nc_config_int_any(r, "vision_feature_layer", -2);
    const char *strategy = nc_config_string(r, "vision_feature_select_strategy", "default");
    c->activation = (nc_unary)nc_config_activation(r, "projector_hidden_act", "gelu");
    c->bias = nc_config_bool(r, "multimodal_projector_bias", true);
    m->image_token_id = (int)nc_config_int(r, "image_token_index", nc_config_int(r, "image_token_id", 32000));
    nc_config_bool(r, "tie_word_embeddings", false);
    nc_config_ignore(r, ignored);
    c->drop_class = !strcmp(strategy, "default");
    if (!c->drop_class && strcmp(strategy, "full"))
        nc_config_mistake(r, "vision_feature_select_strategy \"%s\" is neither \"default\" nor \"full\"", strategy);
    if (!c->vision || !c->text)
        return;
    if (!c->vision->family->vision || !c->text->family->decoder) {
        nc_config_mistake(r, "a %s and a %s make no LLaVA", c->vision->family->name, c->text->family->name);
        return;
    }
    c->vision->family->vision_info(c->vision->self, &c->info);
    m->hidden_size = c->text->hidden_size;
    m->vocab_size = c->text->vocab_size;
    m->max_positions = c->text->max_positions;
}

static void config(nc_model *m, void *self, nc_config *r)
{
    struct llava *c = self;
    c->pool = 1;
    common_config(m, c, r);
}

static void next_config(nc_model *m, void *self, nc_config *r)
{
    struct llava *c = self;
    c->pool = 1;
    c->is_next = true;
    common_config(m, c, r);
    nc_anyres_config(r, "image_grid_pinpoints", &c->pinpoints);
}

static void video_config(nc_model *m, void *self, nc_config *r)
{
    struct llava *c = self;
    next_config(m, self, r);
    c->pool = (int)nc_config_int(r, "spatial_pool_stride", 2);
    const char *mode = nc_config_string(r, "spatial_pool_mode", "average");
    m->video_token_id = (int)nc_config_int(r, "video_token_index", nc_config_int(r, "video_token_id", 32001));
    if (strcmp(mode, "average"))
        nc_config_mistake(r, "spatial_pool_mode \"%s\" is not known here (average is)", mode);
    if (c->pool < 1)
        nc_config_mistake(r, "spatial_pool_stride must be at least 1");
}

static void weights(nc_model *m, void *self)
{
    struct llava *c = self;
    const int D = m->hidden_size, V = c->info.hidden_size;
    nc_submodel_weights(c->vision);
    nc_weight_scope(m, "multi_modal_projector.");
    c->linear_1 = nc_weight_linear(m, "linear_1.weight", D, V);
    c->bias_1 = c->bias ? nc_weight_bias(m, "linear_1.bias", D) : NULL;
    c->linear_2 = nc_weight_linear(m, "linear_2.weight", D, D);
    c->bias_2 = c->bias ? nc_weight_bias(m, "linear_2.bias", D) : NULL;
    nc_weight_scope(m, "%s", "");
    if (c->is_next) {
        c->newline = nc_weight(m, 0, NC_INIT_NORMAL, "image_newline", 1, D, 0, 0);
        c->newline->file_shape = NC_SHAPE(D);
    }
    nc_submodel_weights(c->text);
}

static int side_of(const struct llava *c) { return c->info.image_size / c->info.patch_size; }

/* Feature rows of one picture or frame. */
static int rows_of(const struct llava *c, int kind)
{
    int side = side_of(c);
    if (kind == NC_MEDIA_VIDEO)
        side /= c->pool;
    return side * side + (c->drop_class || c->pool > 1 ? 0 : c->info.class_rows);
}

/* Rows in the text: its feature rows, but for an AnyRes picture, whose order comes with them (NULL: counts only). */
static int text_rows(const struct llava *c, const nc_media *media, int32_t *order)
{
    int rows = rows_of(c, (int)media->kind) * media->count;
    if (c->is_next && media->kind == NC_MEDIA_IMAGE)
        return nc_anyres_rows(&c->pinpoints, media->original_height, media->original_width, media->count, c->info.image_size, side_of(c), order);
    for (int i = 0; order && i < rows; i++)
        order[i] = i;
    return rows;
}

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    return text_rows(self, media, NULL);
}

/* Every output row of the selection is the mean of `taps` tower rows; a still picture's rows have one live tap. */
static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct llava *c = self;
    (void)m;
    nc_scope_push(b->g, "vision_tower");
    nc_value *x = nc_model_vision(c->vision, b, c->feature_layer, "tower.hidden");
    nc_scope_pop(b->g);
    nc_scope_push(b->g, "multi_modal_projector");
    int taps = c->pool * c->pool;
    if (taps > 1)
        x = nc_probe(b, nc_gather_weighted(b->g, x, nc_in(b, "media.from", NC_I32, "media", taps), nc_in(b, "media.share", NC_F32, "media", taps)), "video.pooled");
    else
        x = nc_gather_rows(b->g, x, nc_in(b, "media.from", NC_I32, "media", 0));
    nc_value *h = nc_unary_op(b->g, c->activation, nc_linear(b, x, c->linear_1, c->bias_1));
    nc_value *y = nc_probe(b, nc_linear(b, h, c->linear_2, c->bias_2), "projector.out");
    nc_scope_pop(b->g);
    return y;
}

/* The newline row is spliced where a picture's map row ends; the decoder splices the rest. */
static nc_value *newline_point(void *context, nc_build *b, nc_value *x, const char *point)
{
    const struct llava *c = context;
    if (strcmp(point, "embedding.out"))
        return x;
    return nc_splice_rows(b->g, x, nc_site_value(b, c->newline), nc_in(b, "text.newline", NC_I32, "tokens", 0));
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct llava *c = self;
    (void)m;
    if (c->is_next && media)
        nc_build_point(b, newline_point, (void *)(uintptr_t)c);
    return c->text->family->decoder(c->text, c->text->self, b, media);
}

/* The tower rows behind each media row: pooled windows of a frame's grid, or the row itself. `first` is the tower row of the picture's first patch. */
static void fill_rows(const struct llava *c, int kind, int32_t first, int32_t *from, float *share)
{
    int side = side_of(c), taps = c->pool * c->pool, pool = kind == NC_MEDIA_VIDEO ? c->pool : 1, out = side / pool, row = 0;
    if (!c->drop_class && c->pool == 1)
        for (int i = 0; i < c->info.class_rows; i++, row++)
            for (int t = 0; t < taps; t++) {
                from[row * taps + t] = t ? -1 : first - c->info.class_rows + i;
                share[row * taps + t] = t ? 0 : 1;
            }
    for (int y = 0; y < out; y++)
        for (int x = 0; x < out; x++, row++)
            for (int t = 0; t < taps; t++) {
                bool live = t < pool * pool;
                from[row * taps + t] = live ? first + (y * pool + t / pool) * side + x * pool + t % pool : -1;
                share[row * taps + t] = live ? 1.0f / (float)(pool * pool) : 0;
            }
}

struct gathered { int pictures, rows; bool computed; };

static int count_media(const struct llava *c, const nc_seq *seqs, int count, struct gathered *g, nc_error *e)
{
    *g = (struct gathered){ 0 };
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            const nc_media *media = &seqs[i].media[j];
            int rows = rows_of(c, (int)media->kind) * media->count;
            if (media->features && media->feature_rows != rows)
                return nc_fail(e, NC_EINVAL, "sequence %d: media %d has %d computed rows, %d are needed", i, j, media->feature_rows, rows);
            g->computed = g->computed || media->features;
            g->pictures += media->features ? 0 : media->count;
            g->rows += rows;
        }
    if (g->computed && g->pictures)
        return nc_fail(e, NC_EINVAL, "a batch mixes media with and without computed features");
    return 0;
}

static int prepare_media(const struct llava *c, nc_batch *batch, const nc_seq *seqs, int count, const struct gathered *g, nc_error *e)
{
    int taps = c->pool * c->pool, side = side_of(c), per_picture = side * side + c->info.class_rows;
    nc_pixels *pictures = nc_xcalloc((size_t)g->pictures + 1, sizeof *pictures);
    int32_t *from = nc_batch_i32(batch, "media.from", g->rows, taps);
    float *share = nc_batch_f32(batch, "media.share", g->rows, taps);
    int picture = 0, row = 0, wrong = -1;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            const nc_media *media = &seqs[i].media[j];
            for (int f = 0; f < media->count; f++, picture++) {
                pictures[picture] = media->frames[f];
                if (media->frames[f].height != c->info.image_size || media->frames[f].width != c->info.image_size)
                    wrong = picture;
                fill_rows(c, (int)media->kind, picture * per_picture + c->info.class_rows, from + row * taps, share + row * taps);
                row += rows_of(c, (int)media->kind);
            }
        }
    int status = wrong < 0 ? nc_prepare_pictures(batch, &c->info, pictures, picture, e)
                           : nc_fail(e, NC_ESHAPE, "picture %d is %d x %d, the tower takes %d x %d", wrong, pictures[wrong].height, pictures[wrong].width, c->info.image_size,
                                     c->info.image_size);
    free(pictures);
    return status;
}

/* Rows computed earlier come as one table; the k-th placeholder of a stretch takes the k-th row after media_row. */
static int gather_features(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, int rows, nc_dtype t)
{
    size_t row_bytes = nc_dtype_bytes(t, m->hidden_size);
    char *out = nc_batch_table(batch, "media.features", t, rows, m->hidden_size);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            const nc_media *media = &seqs[i].media[j];
            memcpy(out, media->features, row_bytes * (size_t)media->feature_rows);
            out += row_bytes * (size_t)media->feature_rows;
        }
    return 0;
}

/* The k-th placeholder of a stretch takes the k-th row after media_row, in the order of text_rows; one beyond the rows is a token like any other (media.h). */
static void splice_sequence(const nc_model *m, const struct llava *c, const nc_seq *s, int base, int32_t *index, int32_t *newline)
{
    int have = 0, used = s->media_row, rows = 0;
    for (int j = 0; j < s->media_count; j++)
        have += text_rows(c, &s->media[j], NULL);
    int32_t *order = nc_xmalloc(sizeof *order * (size_t)(have + 1)), *at = order;
    for (int j = 0; j < s->media_count; j++) {
        int n = text_rows(c, &s->media[j], at);
        for (int i = 0; i < n; i++)
            at[i] = at[i] == NC_ANYRES_NEWLINE ? NC_ANYRES_NEWLINE : at[i] + base + rows;
        at += n;
        rows += rows_of(c, (int)s->media[j].kind) * s->media[j].count;
    }
    for (int j = 0; j < s->count; j++) {
        bool holds = used < have && (s->ids[j] == m->image_token_id || (m->video_token_id >= 0 && s->ids[j] == m->video_token_id));
        index[j] = holds ? order[used++] : -1;
        newline[j] = index[j] == NC_ANYRES_NEWLINE ? 0 : -1;
        index[j] = index[j] < 0 ? -1 : index[j];
    }
    free(order);
}

static int splice_table(const nc_model *m, const struct llava *c, nc_batch *batch, const nc_seq *seqs, int count, int rows)
{
    int64_t tokens = nc_batch_count(batch, "tokens"), at = 0;
    int32_t *index = nc_batch_i32(batch, "text.media", tokens, 1), *newline = nc_batch_i32(batch, "text.newline", tokens, 1);
    int base = 0;
    for (int i = 0; i < count; i++) {
        splice_sequence(m, c, &seqs[i], base, index + at, newline + at);
        at += seqs[i].count;
        for (int j = 0; j < seqs[i].media_count; j++)
            base += rows_of(c, (int)seqs[i].media[j].kind) * seqs[i].media[j].count;
    }
    nc_batch_set_count(batch, "media", rows);
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const struct llava *c = self;
    struct gathered g;
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    NC_TRY(count_media(c, seqs, count, &g, e));
    if (g.computed)
        NC_TRY(gather_features(m, batch, seqs, count, g.rows, seqs[0].feature_dtype));
    else
        NC_TRY(prepare_media(c, batch, seqs, count, &g, e));
    return splice_table(m, c, batch, seqs, count, g.rows);
}

static void head(const void *self, nc_head *out)
{
    const struct llava *c = self;
    c->text->family->head(c->text->self, out);
}

static void cache(const void *self, nc_cache_need *out)
{
    const struct llava *c = self;
    c->text->family->cache(c->text->self, out);
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct llava *c = self;
    int image = rows_of(c, NC_MEDIA_IMAGE), video = rows_of(c, NC_MEDIA_VIDEO);
    nc_capacity_pictures(b, &c->info, pictures);
    nc_build_capacity(b, "media", pictures * (image > video ? image : video));
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", "*position_ids", NULL };
static const char *const renames[] = { "model.language_model.", "language_model.model.", "lm_head.", "language_model.lm_head.", "model.vision_tower.", "vision_tower.",
                                       "model.multi_modal_projector.", "multi_modal_projector.", "model.image_newline", "image_newline", NULL };

const nc_family nc_family_llava = {
    .name = "llava", .architectures = "LlavaForConditionalGeneration", .size = sizeof(struct llava), .config = config, .weights = weights, .ignored = ignored,
    .renames = renames, .prepare = prepare, .tower = tower, .decoder = decoder, .media_rows = media_rows, .head = head, .cache = cache, .capacity = capacity,
};
const nc_family nc_family_llava_next = {
    .name = "llava_next", .architectures = "LlavaNextForConditionalGeneration", .size = sizeof(struct llava), .config = next_config, .weights = weights, .ignored = ignored,
    .renames = renames, .prepare = prepare, .tower = tower, .decoder = decoder, .media_rows = media_rows, .head = head, .cache = cache, .capacity = capacity,
};
const nc_family nc_family_llava_next_video = {
    .name = "llava_next_video", .architectures = "LlavaNextVideoForConditionalGeneration", .size = sizeof(struct llava), .config = video_config, .weights = weights,
    .ignored = ignored, .renames = renames, .prepare = prepare, .tower = tower, .decoder = decoder, .media_rows = media_rows, .head = head, .cache = cache,
    .capacity = capacity,
};
