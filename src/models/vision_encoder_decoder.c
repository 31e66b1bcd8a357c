/* vision_encoder_decoder.c - a tower that reads a picture and a decoder of text that looks at its rows: Donut and Nougat (DonutSwin, mBART), TrOCR (ViT or DeiT, TrOCR),
 * captioners (ViT, GPT-2), and with BERT's or RoBERTa's decoders. The kinds of decoder: ved.h.
 *
 *   e = [enc_to_dec_proj] tower(pixels);   h = decoder(ids, e);   logits = head h
 *
 * Easy to get wrong: which head is tied says the decoder's own config; the tower's rows may be as wide as the decoder (no projection), of cross_attention_hidden_size, or are
 * projected.
 */
#include "models/swin.h"
#include "models/ved.h"

#include <stdlib.h>

/* ---- the tower of Donut and Nougat ---- */
static void swin_config(nc_model *m, void *self, nc_config *r)
{
    nc_swin_config(self, r);
    m->hidden_size = nc_swin_width(self);
}

static void swin_weights(nc_model *m, void *self) { nc_swin_weights(m, self, ""); }

static int swin_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    nc_pixels *pictures = nc_xcalloc((size_t)count + 1, sizeof *pictures);
    int status = 0;
    (void)m;
    for (int i = 0; i < count && status == 0; i++) {
        if (seqs[i].media_count != 1 || seqs[i].media[0].count != 1)
            status = nc_fail(e, NC_EINVAL, "sequence %d has %d pictures; the model reads one", i, seqs[i].media_count);
        else
            pictures[i] = seqs[i].media[0].frames[0];
    }
    if (status == 0)
        status = nc_swin_prepare(self, batch, pictures, count, e);
    free(pictures);
    return status;
}

static void swin_encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    (void)m;
    (void)what;
    out->rows = nc_probe(b, nc_swin_blocks(self, b, "hidden"), "out.last_hidden_state");
}

static int swin_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    return media->count ? nc_swin_rows(self, media->frames[0].height, media->frames[0].width) : 0;
}

static void swin_capacity(const void *self, nc_build *b, int64_t pictures) { nc_swin_capacity(self, b, pictures); }

static const char *const swin_ignored[] = { "*.relative_position_index", "*.attn_mask", NULL };

const nc_family nc_family_donut_swin = {
    .name = "donut-swin", .architectures = "DonutSwinModel", .size = sizeof(nc_swin), .config = swin_config, .weights = swin_weights, .ignored = swin_ignored, .prepare = swin_prepare,
    .encode = swin_encode, .media_rows = swin_rows, .capacity = swin_capacity,
};

/* ---- the whole ---- */
struct ved { nc_model *tower; const nc_ved_kind *kind; void *decoder; nc_ved_facts facts; int width; bool project; nc_dense projection; };

static const nc_ved_kind *const kinds[] = {
#define NC_VED_DECODER(name) &nc_ved_##name,
#include "models/ved_decoders.list"
#undef NC_VED_DECODER
};

static void decoder_config(nc_model *m, struct ved *c, nc_config *r)
{
    const char *type = nc_config_string(r, "model_type", "");
    for (int i = 0; i < NC_COUNT(kinds) && !c->kind; i++)
        for (const char *const *t = kinds[i]->types; *t; t++)
            c->kind = strcmp(*t, type) ? c->kind : kinds[i];
    if (!c->kind) {
        nc_config_mistake(r, "the decoder is a %s; known are mbart, trocr, gpt2, bert, roberta and xlm-roberta", type);
        return;
    }
    c->decoder = nc_arena_alloc(m->arena, c->kind->size);
    c->kind->config(m, c->decoder, r, type, &c->facts);
    m->text_types = 0;
    m->hidden_size = c->facts.width;
    m->vocab_size = c->facts.vocab;
    m->max_positions = c->facts.positions;
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "tie_word_embeddings", "vocab_size", "processor_class", NULL };
    struct ved *c = self;
    c->tower = nc_submodel(m, r, "encoder", "encoder.");
    nc_config *decoder = nc_config_child(r, "decoder");
    nc_config_ignore(r, ignored);
    if (!c->tower || !decoder) {
        nc_config_mistake(r, "the keys \"encoder\" and \"decoder\" must be there");
        return;
    }
    if (!c->tower->family->encode || c->tower->family->reads_text)
        nc_config_mistake(r, "the encoder is a %s, which reads no pictures", c->tower->family->name);
    decoder_config(m, c, decoder);
    nc_vision_info info = { 0 };
    if (c->tower->family->vision_info)
        c->tower->family->vision_info(c->tower->self, &info);
    c->width = info.hidden_size ? info.hidden_size : c->tower->hidden_size;
    c->project = !c->facts.cross_width && c->width != c->facts.width;
    c->facts.cross_width = c->facts.cross_width ? c->facts.cross_width : c->facts.width;
    if (!c->project && c->facts.cross_width != c->width)
        nc_config_mistake(r, "cross_attention_hidden_size %d, the encoder's rows are %d wide", c->facts.cross_width, c->width);
}

static void weights(nc_model *m, void *self)
{
    struct ved *c = self;
    const char *prefix = m->prefix;
    nc_submodel_weights(c->tower);
    if (!c->kind)
        return;
    m->prefix = nc_arena_printf(m->arena, "%sdecoder.", prefix);
    c->kind->weights(m, c->decoder, c->facts.cross_width);
    m->prefix = prefix;
    nc_weight_scope(m, "%s", "");
    if (c->project)
        c->projection = nc_weight_dense(m, "enc_to_dec_proj", c->facts.width, c->width, true);
}

static int encoder_rows(const nc_model *m, const void *self, const nc_seq *s)
{
    const struct ved *c = self;
    const nc_family *f = c->tower->family;
    nc_vision_info info;
    (void)m;
    if (!s->media_count || !s->media[0].count)
        return 0;
    if (f->media_rows)
        return f->media_rows(c->tower, c->tower->self, &s->media[0]);
    f->vision_info(c->tower->self, &info);
    return (s->media[0].frames[0].height / info.patch_size) * (s->media[0].frames[0].width / info.patch_size) + info.class_rows + info.register_rows;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const struct ved *c = self;
    int *rows = nc_xcalloc((size_t)count + 1, sizeof *rows), with = 0, status = nc_prepare_text(batch, seqs, count, e);
    for (int i = 0; i < count; i++) {
        rows[i] = encoder_rows(m, self, &seqs[i]);
        with += rows[i] > 0;
    }
    if (status == 0 && c->kind->prepare)
        status = c->kind->prepare(c->decoder, batch, seqs, count, e);
    if (status == 0 && with)
        status = c->tower->family->prepare(c->tower, c->tower->self, batch, seqs, count, e);
    nc_prepare_cross(batch, seqs, count, rows);
    free(rows);
    return status;
}

static nc_value *encoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct ved *c = self;
    nc_encoded x = { 0 };
    (void)m;
    (void)media;
    c->tower->family->encode(c->tower, c->tower->self, b, NC_PICTURES, &x);
    nc_value *rows = nc_probe(b, x.rows, "encoder.last_hidden_state");
    return c->project ? nc_dense_apply(b, rows, c->projection) : rows;
}

static void cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const struct ved *c = self;
    (void)m;
    c->kind->cross(c->decoder, b, rows);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const struct ved *c = self;
    (void)m;
    return c->kind->decode(c->decoder, b, rows);
}

static void head(const void *self, nc_head *out) { ((const struct ved *)self)->kind->head(((const struct ved *)self)->decoder, out); }
static void cache(const void *self, nc_cache_need *out) { ((const struct ved *)self)->kind->cache(((const struct ved *)self)->decoder, out); }

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct ved *c = self;
    if (c->tower->family->capacity)
        c->tower->family->capacity(c->tower->self, b, pictures);
}

static const char *const ignored[] = { "*.relative_position_index", "*.attn_mask", "decoder.lm_head.weight", "decoder.output_projection.weight", "decoder.model.decoder.embed_positions._float_tensor",
                                       "decoder.model.decoder.embed_positions.weights", "decoder.model.decoder.version", "decoder.transformer.h.*.attn.bias", "decoder.transformer.h.*.crossattention.bias", "decoder.*.masked_bias",
                                       "decoder.*position_ids", "decoder.cls.predictions.decoder.*", "decoder.lm_head.decoder.*", NULL };

const nc_family nc_family_vision_encoder_decoder = {
    .name = "vision-encoder-decoder", .architectures = "VisionEncoderDecoderModel", .size = sizeof(struct ved), .config = config, .weights = weights, .ignored = ignored,
    .prepare = prepare, .encoder = encoder, .cross = cross, .encoder_rows = encoder_rows, .decoder = decoder, .head = head, .cache = cache, .capacity = capacity,
};
