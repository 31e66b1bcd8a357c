/* video_llava.c - Video-LLaVA (Lin et al. 2023): one tower for pictures and one for frames, a projector for both, their rows spliced into the text.
 *
 *   f = image_tower(picture), class row dropped ("default")       [side^2, Dv]       f = video_tower(frame), class row kept       [1 + side^2, Dv]
 *   media = linear_2 act(linear_1 f)
 *
 * Easy to get wrong: both towers have the one vision_config; a frame keeps its class row whatever vision_feature_select_strategy says.
 */
#include "models/media.h"
#include "models/vit.h"

#include <stdlib.h>

static const char video_part[] = "video.";

struct video_llava {
    nc_vision_text parts;                    /* first; the tower of pictures */
    nc_model *video;
    int layer, side;
    bool drop_class, bias;
    nc_unary activation;
    nc_dense linear_1, linear_2;
};

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "image_seq_length", "video_seq_length", NULL };
    struct video_llava *c = self;
    const char *strategy = nc_config_string(r, "vision_feature_select_strategy", "default");
    nc_vision_text *p = &c->parts;
    p->vision = nc_submodel(m, r, "vision_config", "image_tower.");
    c->video = nc_submodel(m, r, "vision_config", "video_tower.");
    p->text = nc_submodel(m, r, "text_config", "language_model.");
    c->layer = (int)nc_config_int_any(r, "vision_feature_layer", -2);
    c->activation = (nc_unary)nc_config_activation(r, "projector_hidden_act", "gelu");
    c->bias = nc_config_bool(r, "multimodal_projector_bias", true);
    m->image_token_id = (int)nc_config_int(r, "image_token_index", nc_config_int(r, "image_token_id", 32000));
    m->video_token_id = (int)nc_config_int(r, "video_token_index", nc_config_int(r, "video_token_id", 32001));
    nc_config_bool(r, "tie_word_embeddings", false);
    nc_config_ignore(r, ignored);
    c->drop_class = !strcmp(strategy, "default");
    if (!c->drop_class && strcmp(strategy, "full"))
        nc_config_mistake(r, "vision_feature_select_strategy \"%s\" is neither \"default\" nor \"full\"", strategy);
    if (!p->vision || !c->video || !p->text)
        return;
    if (!p->vision->family->vision || !p->text->family->decoder) {
        nc_config_mistake(r, "a %s and a %s make no Video-LLaVA", p->vision->family->name, p->text->family->name);
        return;
    }
    p->vision->family->vision_info(p->vision->self, &p->info);
    c->side = p->info.patch_size > 0 ? p->info.image_size / p->info.patch_size : 0;      /* the tower's config said so already */
    m->hidden_size = p->text->hidden_size;
    m->vocab_size = p->text->vocab_size;
    m->max_positions = p->text->max_positions;
}

static void weights(nc_model *m, void *self)
{
    struct video_llava *c = self;
    const int D = m->hidden_size;
    nc_submodel_weights(c->video);
    nc_submodel_weights(c->parts.vision);
    nc_weight_scope(m, "multi_modal_projector.");
    c->linear_1 = nc_weight_dense(m, "linear_1", D, c->parts.info.hidden_size, c->bias);
    c->linear_2 = nc_weight_dense(m, "linear_2", D, D, c->bias);
    nc_weight_scope(m, "%s", "");
    nc_submodel_weights(c->parts.text);
}

static int picture_rows(const struct video_llava *c, bool is_video)
{
    return c->side * c->side + (is_video || !c->drop_class ? c->parts.info.class_rows : 0);
}

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    return media->count * picture_rows(self, media->kind == NC_MEDIA_VIDEO);
}

static nc_value *tower_rows(nc_build *b, const nc_model *v, const char *scope, int layer, const char *probe)
{
    nc_scope_push(b->g, scope);
    nc_value *x = nc_model_vision(v, b, layer, probe);
    nc_scope_pop(b->g);
    return x;
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct video_llava *c = self;
    (void)m;
    nc_value *images = tower_rows(b, c->parts.vision, "image_tower", c->layer, "tower.hidden");
    b->part = video_part;
    nc_value *frames = tower_rows(b, c->video, "video_tower", c->layer, "video_tower.hidden");
    b->part = NULL;
    nc_scope_push(b->g, "multi_modal_projector");
    nc_value *x = nc_gather_rows(b->g, images, nc_in(b, "media.images", NC_I32, "features", 0));
    x = nc_splice_rows(b->g, x, frames, nc_in(b, "media.frames", NC_I32, "features", 0));
    x = nc_unary_op(b->g, c->activation, nc_dense_apply(b, x, c->linear_1));
    x = nc_probe(b, nc_dense_apply(b, x, c->linear_2), "projector.out");
    nc_scope_pop(b->g);
    return nc_gather_rows(b->g, x, nc_in(b, "media.from", NC_I32, "media", 0));
}

struct seen { nc_pixels *pixels; int count; };

/* All pictures of one kind, in order, through its tower's tables. */
static int prepare_kind(const struct video_llava *c, nc_batch *batch, const nc_seq *seqs, int count, bool is_video, struct seen *out, nc_error *e)
{
    const nc_vision_info *info = &c->parts.info;
    out->count = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++)
            for (int f = 0; f < seqs[i].media[j].count && (seqs[i].media[j].kind == NC_MEDIA_VIDEO) == is_video; f++) {
                const nc_pixels *p = &seqs[i].media[j].frames[f];
                if (p->height != info->image_size || p->width != info->image_size)
                    return nc_fail(e, NC_ESHAPE, "a picture of %d x %d, the tower takes %d x %d", p->height, p->width, info->image_size, info->image_size);
                out->pixels[out->count++] = *p;
            }
    nc_batch_part(batch, is_video ? video_part : "");
    int status = nc_prepare_pictures(batch, info, out->pixels, out->count, e);
    nc_batch_part(batch, "");
    return status;
}

/* Rows of pictures, then of frames, go through the projector; "media.from" brings them into the order of the placeholders. */
static void fill_order(const struct video_llava *c, nc_batch *batch, const nc_seq *seqs, int count, const struct seen kinds[2])
{
    const int class_rows = c->parts.info.class_rows, each = c->side * c->side + class_rows, rows[2] = { picture_rows(c, false), picture_rows(c, true) };
    const int64_t total = (int64_t)kinds[0].count * rows[0] + (int64_t)kinds[1].count * rows[1];
    int32_t *images = nc_batch_i32(batch, "media.images", total, 1), *frames = nc_batch_i32(batch, "media.frames", total, 1), *from = nc_batch_i32(batch, "media.from", total, 1);
    int64_t next[2] = { 0, (int64_t)kinds[0].count * rows[0] };
    nc_batch_set_count(batch, "features", total);
    for (int k = 0; k < 2; k++)
        for (int p = 0; p < kinds[k].count; p++)
            for (int i = 0; i < rows[k]; i++) {
                int32_t row = p * each + each - rows[k] + i;
                *images++ = k ? -1 : row;
                *frames++ = k ? row : -1;
            }
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            int k = seqs[i].media[j].kind == NC_MEDIA_VIDEO;
            for (int r = 0; r < seqs[i].media[j].count * rows[k]; r++)
                *from++ = (int32_t)next[k]++;
        }
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const struct video_llava *c = self;
    bool computed;
    int pictures = 0;
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    NC_TRY(nc_media_gather(m, batch, seqs, count, &computed, e));
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++)
            pictures += seqs[i].media[j].count;
    struct seen kinds[2];
    int status = 0;
    for (int k = 0; k < 2; k++) {
        kinds[k].pixels = nc_xcalloc((size_t)pictures + 1, sizeof *kinds[k].pixels);
        if (!computed && status == 0)
            status = prepare_kind(c, batch, seqs, count, k == 1, &kinds[k], e);
    }
    if (!computed && status == 0)
        fill_order(c, batch, seqs, count, kinds);
    free(kinds[0].pixels);
    free(kinds[1].pixels);
    if (status == 0)
        nc_media_splice(m, batch, seqs, count);
    return status;
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct video_llava *c = self;
    nc_capacity_pictures(b, &c->parts.info, pictures);
    b->part = video_part;
    nc_capacity_pictures(b, &c->parts.info, pictures);
    b->part = NULL;
    nc_build_capacity(b, "features", pictures * picture_rows(c, true));
    nc_build_capacity(b, "media", pictures * picture_rows(c, true));
}

static const char *const ignored_tensors[] = { "*rotary_emb.inv_freq", "*position_ids", NULL };
static const char *const renames[] = { "model.language_model.", "language_model.model.", "lm_head.", "language_model.lm_head.", "model.video_tower.", "video_tower.",
                                       "model.image_tower.", "image_tower.", "model.multi_modal_projector.", "multi_modal_projector.", NULL };

const nc_family nc_family_video_llava = {
    .name = "video_llava", .architectures = "VideoLlavaForConditionalGeneration", .size = sizeof(struct video_llava), .config = config, .weights = weights,
    .ignored = ignored_tensors, .renames = renames, .prepare = prepare, .tower = tower, .decoder = nc_vision_text_decoder, .media_rows = media_rows,
    .head = nc_vision_text_head, .cache = nc_vision_text_cache, .capacity = capacity, .regime = nc_vision_text_regime,
};
