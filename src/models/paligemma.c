/* paligemma.c - PaliGemma (Beyer et al. 2024): SigLIP's rows, projected by one product, in front of a prompt that sees itself both ways, and Gemma.
 *
 *   f = post_layernorm(SigLIP(picture))  [side^2, Dv];   media = linear f;   hidden = Gemma(<image> x side^2, <s>, prompt, "\\n" | answer)
 *
 * Easy to get wrong: everything before the answer is attended both ways, the answer causally; the rows of the picture are not scaled by sqrt(D) as embeddings are (the
 * reference divides them by it first).
 */
#include "models/llama.h"
#include "models/media.h"
#include "models/vision.h"
#include "models/vit.h"

struct paligemma {
    nc_vision_text parts;                    /* first */
    int rows;
    nc_dense linear;
};

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "projection_dim", "hidden_size", "vocab_size", "ignore_index", "num_image_tokens", NULL };
    struct paligemma *c = self;
    m->image_token_id = (int)nc_config_int(r, "image_token_index", nc_config_int(r, "image_token_id", 256000));
    nc_config_ignore(r, ignored);
    if (!nc_vision_text_config(m, &c->parts, r, true))
        return;
    if (!nc_is_closed_vision(c->parts.vision))
        nc_config_mistake(r, "a %s gives no rows behind a closing norm", c->parts.vision->family->name);
    int side = c->parts.info.image_size / c->parts.info.patch_size;
    c->rows = side * side;
}

static void weights(nc_model *m, void *self)
{
    struct paligemma *c = self;
    nc_submodel_weights(c->parts.vision);
    nc_weight_scope(m, "multi_modal_projector.");
    c->linear = nc_weight_dense(m, "linear", m->hidden_size, c->parts.info.hidden_size, true);
    nc_weight_scope(m, "%s", "");
    nc_submodel_weights(c->parts.text);
}

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    return media->count * ((const struct paligemma *)self)->rows;
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct paligemma *c = self;
    (void)m;
    nc_scope_push(b->g, "vision_tower");
    nc_value *x = nc_probe(b, nc_vision_closed(c->parts.vision, b, "tower.hidden"), "tower.last");
    nc_scope_pop(b->g);
    nc_scope_push(b->g, "multi_modal_projector");
    x = nc_gather_rows(b->g, x, nc_in(b, "media.from", NC_I32, "media", 0));
    x = nc_probe(b, nc_dense_apply(b, x, c->linear), "projector.out");
    nc_scope_pop(b->g);
    return x;
}

static int tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    const struct paligemma *c = self;
    NC_TRY(nc_prepare_pictures(batch, &c->parts.info, pictures, count, e));
    nc_media_blocks(batch, count, c->parts.info.image_size / c->parts.info.patch_size, 1, 0);
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    NC_TRY(nc_vision_text_prepare(m, self, batch, seqs, count, tower_tables, e));
    nc_prepare_prefix(batch, seqs, count);
    return 0;
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct paligemma *c = self;
    nc_capacity_pictures(b, &c->parts.info, pictures);
    nc_build_capacity(b, "media", pictures * c->rows);
}

static const char *const ignored_tensors[] = { "*rotary_emb.inv_freq", "*position_ids", "language_model.lm_head.weight", NULL };
static const char *const renames[] = { "model.language_model.", "language_model.model.", "lm_head.", "language_model.lm_head.", "model.vision_tower.", "vision_tower.",
                                       "model.multi_modal_projector.", "multi_modal_projector.", NULL };

const nc_family nc_family_paligemma = {
    .name = "paligemma", .architectures = "PaliGemmaForConditionalGeneration", .size = sizeof(struct paligemma), .config = config, .weights = weights,
    .ignored = ignored_tensors, .renames = renames, .prepare = prepare, .tower = tower, .decoder = nc_vision_text_decoder, .media_rows = media_rows,
    .head = nc_vision_text_head, .cache = nc_vision_text_cache, .capacity = capacity, .regime = nc_vision_text_regime, .whole_prompt = true,
};
