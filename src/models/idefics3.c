/* idefics3.c - Idefics3 (Laurencon et al. 2024) and SmolVLM (Marafioti et al. 2025): SigLIP's rows of every tile, put together k x k, projected and spliced into a decoder's text.
 *
 *   f = post_layernorm(SigLIP(tile))                                                            [side^2, Dv]
 *   media = proj(the k x k rows of a block side by side)                                        [(side / k)^2, D],  k = scale_factor
 *
 * Easy to get wrong: the decoder lies under model.text_model., its head under lm_head; the projection has no bias; the whole picture comes after its tiles.
 */
#include "models/llama.h"
#include "models/media.h"
#include "models/vision.h"

struct idefics3 {
    nc_vision_text parts;                    /* first */
    int block, side;
    nc_site *proj;
};

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "_pad_token_id", "image_seq_length", NULL };
    struct idefics3 *c = self;
    c->block = (int)nc_config_int(r, "scale_factor", 2);
    m->image_token_id = (int)nc_config_int(r, "image_token_id", 128257);
    nc_config_ignore(r, ignored);
    if (!nc_vision_text_config_at(m, &c->parts, r, false, "model.", ""))
        return;
    if (c->parts.text->family->weights != nc_llama_weights || !nc_is_closed_vision(c->parts.vision)) {
        nc_config_mistake(r, "a %s and a %s make no %s", c->parts.vision->family->name, c->parts.text->family->name, m->family->name);
        return;
    }
    ((nc_llama *)c->parts.text->self)->scope = "model.text_model.";
    c->side = c->parts.info.image_size / c->parts.info.patch_size;
    if (c->block < 1 || c->side % c->block)
        nc_config_mistake(r, "scale_factor %d does not divide %d x %d patches into blocks", c->block, c->side, c->side);
}

static void weights(nc_model *m, void *self)
{
    struct idefics3 *c = self;
    nc_submodel_weights(c->parts.vision);
    nc_weight_scope(m, "model.connector.modality_projection.");
    c->proj = nc_weight_linear(m, "proj.weight", m->hidden_size, (int64_t)c->parts.info.hidden_size * c->block * c->block);
    nc_weight_scope(m, "%s", "");
    nc_submodel_weights(c->parts.text);
}

static int rows_of_tile(const struct idefics3 *c) { return c->side / c->block * (c->side / c->block); }

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    return media->count * rows_of_tile(self);
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct idefics3 *c = self;
    const int64_t unit = (int64_t)c->block * c->block;
    (void)m;
    nc_scope_push(b->g, "vision_model");
    nc_value *x = nc_probe(b, nc_vision_closed(c->parts.vision, b, "tower.hidden"), "tower.last"), *from = nc_in(b, "media.from", NC_I32, "media", unit);
    nc_scope_pop(b->g);
    nc_scope_push(b->g, "connector");
    x = nc_gather_rows(b->g, x, nc_reshape(b->g, from, NC_SHAPE(from->shape.dim[0] * unit)));
    x = nc_reshape(b->g, x, NC_SHAPE(from->shape.dim[0], unit * c->parts.info.hidden_size));
    x = nc_probe(b, nc_linear(b, x, c->proj, NULL), "projector.out");
    nc_scope_pop(b->g);
    return x;
}

static int tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    const struct idefics3 *c = self;
    NC_TRY(nc_prepare_pictures(batch, &c->parts.info, pictures, count, e));
    nc_media_blocks(batch, count, c->side, c->block, 0);
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    return nc_vision_text_prepare(m, self, batch, seqs, count, tower_tables, e);
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct idefics3 *c = self;
    nc_capacity_pictures(b, &c->parts.info, pictures);
    nc_build_capacity(b, "media", pictures * rows_of_tile(c));
}

static const char *const ignored_tensors[] = { "*rotary_emb.inv_freq", "*position_ids", NULL };

static const char *const towers[] = { "model.vision_model.", NULL }, *const projectors[] = { "model.connector.", NULL };

#define KIN .size = sizeof(struct idefics3), .tower_parts = towers, .projector_parts = projectors, .config = config, .weights = weights, \
    .ignored = ignored_tensors, .prepare = prepare, .tower = tower, \
    .decoder = nc_vision_text_decoder, .media_rows = media_rows, .head = nc_vision_text_head, .cache = nc_vision_text_cache, .capacity = capacity, .regime = nc_vision_text_regime

const nc_family nc_family_idefics3 = { .name = "idefics3", .architectures = "Idefics3ForConditionalGeneration", KIN };
const nc_family nc_family_smolvlm = { .name = "smolvlm", .architectures = "SmolVLMForConditionalGeneration", KIN };
