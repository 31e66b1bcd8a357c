/* florence2.c - Florence-2 (Xiao et al. 2024): DaViT's cells stand before a task's question in the encoder of a BART, whose decoder answers in words and places.
 *
 *   x = davit(picture) + [column_embeddings(x); row_embeddings(y)] + cosines of time 0                    [N, C], N cells
 *   rows = norm(image_projection [one for each of image_feature_source])                                   spatial_avg_pool: mean over cells [1, C]; temporal_avg_pool,
 *                                                                                                          last_frame: x itself [N, C], a picture being one frame
 *   e = encoder([rows; <s> question </s>]);   h = decoder(ids, e);   logits = shared . h
 *
 * Easy to get wrong: columns come before rows in a position; the picture's mean is the first row; rows of the picture have the encoder's positions too, and no scale.
 * Checkpoints of the first release (remote code) have no placeholder: rows stand in front, and the padding's id stands for them here; image_projection is [in, out] there.
 */
#include "models/bart.h"
#include "models/davit.h"
#include "models/media.h"

#include <stdlib.h>

enum { SPATIAL, TEMPORAL, LAST, SOURCES };

struct florence2 { nc_davit tower; nc_bart text; int width, positions, times, sources; int source[SOURCES]; nc_dense project, norm; nc_site *row, *column, *time; };

/* ---- config ---- */

static void read_sources(struct florence2 *c, nc_config *r)
{
    static const char *const names[] = { "spatial_avg_pool", "temporal_avg_pool", "last_frame" };
    const nc_json *list = nc_config_get(r, "image_feature_source");
    c->sources = 2;
    c->source[0] = SPATIAL;
    c->source[1] = TEMPORAL;
    if (!list)
        return;
    c->sources = 0;
    NC_JSON_EACH(item, list) {
        int k = 0;
        while (k < SOURCES && strcmp(nc_json_string(item, ""), names[k]))
            k++;
        if (k == SOURCES || c->sources == SOURCES) {
            nc_config_mistake(r, "image_feature_source: \"%s\" (known, each once: spatial_avg_pool, temporal_avg_pool, last_frame)", nc_json_string(item, "?"));
            return;
        }
        c->source[c->sources++] = k;
    }
    if (!c->sources)
        nc_config_mistake(r, "image_feature_source is empty");
}

/* A length under `key`, or in the first release's object `old` with its type. */
static int table_rows(nc_config *r, const char *key, int usual, const char *old, const char *old_key, const char *type)
{
    nc_config *o = nc_config_child(r, old);
    if (!o)
        return (int)nc_config_int(r, key, usual);
    const char *given = nc_config_string(o, "type", type);
    if (strcmp(given, type))
        nc_config_mistake(o, "type \"%s\" is not known here (%s is)", given, type);
    return (int)nc_config_int(o, old_key, usual);
}

/* Is it of the first release? */
static bool tower_config(struct florence2 *c, nc_config *v)
{
    const char *type = nc_config_string(v, "model_type", "florence_vision");
    if (strcmp(type, "florence_vision") && strcmp(type, "davit"))
        nc_config_mistake(v, "the tower is a %s; known are florence_vision and davit", type);
    nc_davit_config(&c->tower, v);
    c->positions = table_rows(v, "max_position_embeddings", 50, "image_pos_embed", "max_pos_embeddings", "learned_abs_2d");
    c->times = table_rows(v, "max_temporal_embeddings", 100, "visual_temporal_embedding", "max_temporal_embeddings", "COSINE");
    c->width = (int)nc_config_int(v, "projection_dim", 1024);
    read_sources(c, v);
    if (c->positions < 1 || c->times < 1 || nc_davit_width(&c->tower) < 2)
        nc_config_mistake(v, "%d positions and %d times of %d numbers", c->positions, c->times, nc_davit_width(&c->tower));
    return !strcmp(type, "davit");
}

/* The encoder's text is embedded by the shared table, so an untied encoder's own is read by nobody. */
static const char *const kept[] = { "*.encoder.embed_tokens.weight", NULL };

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "projection_dim", "ignore_index", "vocab_size", NULL };
    struct florence2 *c = self;
    nc_config *vision = nc_config_child(r, "vision_config"), *text = nc_config_child(r, "text_config");
    nc_config_class(m, r);
    nc_config_ignore(r, ignored);
    bool tied = nc_config_bool(r, "tie_word_embeddings", true);
    if (!vision || !text) {
        nc_config_mistake(r, "the keys \"vision_config\" and \"text_config\" must be there");
        return;
    }
    bool first = tower_config(c, vision);
    nc_bart_whole_config(m, &c->text, text, false);
    c->text.tied = c->text.tied && tied;
    m->kept = c->text.tied ? NULL : kept;
    m->image_token_id = (int)nc_config_int(r, "image_token_id", first ? nc_config_int(r, "pad_token_id", 1) : 51289);
    if (c->width != m->hidden_size)
        nc_config_mistake(r, "the tower's projection_dim %d is not the text's d_model %d", c->width, m->hidden_size);
    if (m->image_token_id >= m->vocab_size)
        nc_config_mistake(r, "image_token_id %d, the vocabulary has %d", m->image_token_id, m->vocab_size);
}

static void weights(nc_model *m, void *self)
{
    struct florence2 *c = self;
    const int C = nc_davit_width(&c->tower);
    nc_davit_weights(m, &c->tower, "model.vision_tower.");
    nc_weight_scope(m, "model.multi_modal_projector.");
    c->project = nc_weight_dense(m, "image_projection", c->width, C, false);
    c->norm = nc_weight_layer_norm(m, "image_proj_norm", c->width);
    c->row = nc_weight_table(m, "image_position_embed.row_embeddings.weight", c->positions, C / 2);
    c->column = nc_weight_table(m, "image_position_embed.column_embeddings.weight", c->positions, C - C / 2);
    c->time = nc_weight(m, NC_SITE_BUFFER, NC_INIT_ZERO, "visual_temporal_embed.pos_idx_to_embed", c->times, C, 0, 0);
    nc_bart_whole_weights(m, &c->text, &(nc_bart_names){ .body = "model.language_model.", .head = "", .bias = "model.language_model." });
}

/* ---- forward ---- */

/* [cells, C]: the place of each cell. */
static nc_value *places(const struct florence2 *c, nc_build *b, nc_grid x)
{
    const int64_t H = x.height, W = x.width, C = nc_davit_width(&c->tower), half = C / 2;
    nc_value *column = nc_slice(b->g, nc_site_value(b, c->column), 0, 0, W), *row = nc_slice(b->g, nc_site_value(b, c->row), 0, 0, H);
    column = nc_broadcast_to(b->g, nc_reshape(b->g, column, NC_SHAPE(1, W, C - half)), NC_SHAPE(H, W, C - half), -1);
    row = nc_broadcast_to(b->g, nc_reshape(b->g, row, NC_SHAPE(H, 1, half)), NC_SHAPE(H, W, half), -1);
    return nc_reshape(b->g, nc_concat(b->g, (nc_value *[]){ column, row }, 2, 2), NC_SHAPE(H * W, C));
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct florence2 *c = self;
    const int64_t C = nc_davit_width(&c->tower);
    nc_value *part[SOURCES];
    (void)m;
    nc_scope_push(b->g, "vision_tower");
    nc_grid x = nc_davit_cells_of(&c->tower, b);
    nc_scope_pop(b->g);
    if (x.height > c->positions || x.width > c->positions)
        nc_graph_mistake(b->g, NC_ESHAPE, "a picture of %lld x %lld cells, there are positions for %d x %d; the processor's pictures are too large for this model", (long long)x.width,
                         (long long)x.height, c->positions, c->positions);
    if (nc_graph_failed(b->g))
        return nc_graph_poison(b->g);
    nc_value *rows = nc_reshape(b->g, x.rows, NC_SHAPE(x.rows->shape.dim[0] / nc_grid_area(x), nc_grid_area(x), C));
    rows = nc_add(b->g, rows, places(c, b, x));
    rows = nc_add(b->g, rows, nc_slice(b->g, nc_site_value(b, c->time), 0, 0, 1));
    for (int i = 0; i < c->sources; i++)
        part[i] = c->source[i] == SPATIAL ? nc_mean(b->g, rows, 1, true) : rows;
    rows = c->sources > 1 ? nc_concat(b->g, part, c->sources, 1) : part[0];
    rows = nc_reshape(b->g, rows, NC_SHAPE(rows->shape.dim[0] * rows->shape.dim[1], C));
    return nc_probe(b, nc_ln(b, nc_dense_apply(b, rows, c->project), c->norm.w, c->norm.b, 1e-5), "projector.out");
}

static nc_value *encoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    (void)m;
    return nc_bart_encode(&((const struct florence2 *)self)->text, b, media);
}

static void cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    (void)m;
    nc_bart_cross(&((const struct florence2 *)self)->text.decoder, b, rows);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    (void)m;
    return nc_bart_decode(&((const struct florence2 *)self)->text, b, rows);
}

static void head(const void *self, nc_head *out) { nc_bart_head(&((const struct florence2 *)self)->text, out); }
static void cache(const void *self, nc_cache_need *out) { nc_bart_cache(&((const struct florence2 *)self)->text.decoder, out); }

/* ---- host tables ---- */

static int rows_of_picture(const struct florence2 *c, int height, int width)
{
    int64_t down, across, n = 0;
    if (!nc_davit_cells(&c->tower, c->tower.stages - 1, height, width, &down, &across) || down > c->positions || across > c->positions)
        return 0;
    for (int i = 0; i < c->sources; i++)
        n += c->source[i] == SPATIAL ? 1 : down * across;
    return (int)n;
}

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    const int height = media->frames ? media->frames[0].height : media->frame_height, width = media->frames ? media->frames[0].width : media->frame_width;
    (void)m;
    return media->kind == NC_MEDIA_IMAGE && media->count ? media->count * rows_of_picture(self, height, width) : 0;
}

static int see(const struct florence2 *c, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++)
            n += seqs[i].media[j].count;
    nc_pixels *p = nc_xcalloc((size_t)n + 1, sizeof *p);
    n = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++)
            for (int f = 0; f < seqs[i].media[j].count; f++)
                p[n++] = seqs[i].media[j].frames[f];
    int status = nc_davit_prepare(&c->tower, batch, p, n, e);
    free(p);
    return status;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    bool computed;
    NC_TRY(nc_prepare_seq2seq(m, self, batch, seqs, count, e));
    NC_TRY(nc_media_gather(m, batch, seqs, count, &computed, e));
    if (!computed)
        NC_TRY(see(self, batch, seqs, count, e));
    nc_media_splice(m, batch, seqs, count);
    return 0;
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    nc_build_capacity(b, "pictures", pictures);
    nc_build_capacity(b, "media", pictures * rows_of_picture(self, b->picture_height, b->picture_width));
}

/* ---- names of the first release ---- */
#define V "vision_tower."
#define NAMED(file, own) V file ".weight", "model." V own ".weight", V file ".bias", "model." V own ".bias"
static const char *const renames[] = {
    "language_model.model.", "model.language_model.", "language_model.final_logits_bias", "model.language_model.final_logits_bias", "language_model.lm_head.", "lm_head.",
    "image_projection", "model.multi_modal_projector.image_projection.weight", "image_proj_norm.", "model.multi_modal_projector.image_proj_norm.",
    "image_pos_embed.", "model.multi_modal_projector.image_position_embed.", "visual_temporal_embed.", "model.multi_modal_projector.visual_temporal_embed.",
    NAMED("convs.*.proj", "convs.*.conv"), NAMED("blocks.*.conv1.fn.dw", "blocks.*.conv1"), NAMED("blocks.*.conv2.fn.dw", "blocks.*.conv2"),
    NAMED("blocks.*.spatial_block.window_attn.norm", "blocks.*.spatial_block.norm1"), NAMED("blocks.*.channel_block.channel_attn.norm", "blocks.*.channel_block.norm1"),
    NAMED("blocks.*.window_attn.fn.qkv", "blocks.*.window_attn.qkv"), NAMED("blocks.*.window_attn.fn.proj", "blocks.*.window_attn.proj"),
    NAMED("blocks.*.channel_attn.fn.qkv", "blocks.*.channel_attn.qkv"), NAMED("blocks.*.channel_attn.fn.proj", "blocks.*.channel_attn.proj"),
    NAMED("blocks.*.ffn.norm", "blocks.*.norm2"), NAMED("blocks.*.ffn.fn.net.fc1", "blocks.*.ffn.fc1"), NAMED("blocks.*.ffn.fn.net.fc2", "blocks.*.ffn.fc2"),
    V, "model." V, NULL,
};
static const char *const turned[] = { "image_projection", NULL };
static const char *const ignored[] = { "*.embed_tokens.weight", "lm_head.weight", "language_model.lm_head.weight", NULL };
static const char *const tower_parts[] = { "model." V, NULL }, *const projector_parts[] = { "model.multi_modal_projector.", NULL };

const nc_family nc_family_florence2 = {
    .name = "florence2", .architectures = "Florence2ForConditionalGeneration", .size = sizeof(struct florence2), .config = config, .weights = weights, .tower_parts = tower_parts,
    .projector_parts = projector_parts, .ignored = ignored, .renames = renames, .turned = turned, .prepare = prepare, .tower = tower, .encoder = encoder, .cross = cross,
    .decoder = decoder, .media_rows = media_rows, .head = head, .cache = cache, .capacity = capacity, .one_size = true,
};
