/* vision_encoder_decoder.c - a tower that reads a picture and a decoder of text that looks at its rows: Donut and Nougat (DonutSwin, mBART), TrOCR (ViT or DeiT, TrOCR).
 *
 *   e = [enc_to_dec_proj] tower(pixels);   h = decoder(ids, e);   logits = head h
 *
 * Easy to get wrong: which head is tied says the decoder's own config; TrOCR's small models have sinusoidal positions that count the tokens that are not padding, from
 * pad_token_id + 1 on; TrOCR norms after the residual, mBART before it; the tower's rows may be as wide as the decoder (no projection), of cross_attention_hidden_size,
 * or are projected.
 */
#include "models/bart.h"
#include "models/swin.h"

#include <math.h>
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
struct ved { nc_model *tower; nc_bart_stack decoder; int vocab, pad, width; bool tied, project; const char *head_name; nc_dense projection; nc_site *head; };

static void decoder_config(struct ved *c, nc_config *r)
{
    static const char *const others[] = { "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", NULL };
    const char *type = nc_config_string(r, "model_type", "");
    bool trocr = !strcmp(type, "trocr");
    if (!trocr && strcmp(type, "mbart"))
        nc_config_mistake(r, "the decoder is a %s; known are mbart and trocr", type);
    nc_bart_stack *d = &c->decoder;
    nc_bart_config(r, d, "decoder");
    d->pre_norm = d->final_norm = !trocr;
    d->embed_norm = nc_config_bool(r, "layernorm_embedding", true) || !trocr;
    d->learned = nc_config_bool(r, "use_learned_position_embeddings", true) || !trocr;
    d->cross_width = (int)nc_config_int(r, "cross_attention_hidden_size", 0);
    c->vocab = (int)nc_config_int(r, "vocab_size", 50265);
    c->pad = (int)nc_config_int(r, "pad_token_id", 1);
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    c->head_name = trocr ? "decoder.output_projection.weight" : "decoder.lm_head.weight";
    nc_config_ignore(r, others);
    nc_config_ignore(r, nc_bart_meaningless);
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
    decoder_config(c, decoder);
    nc_vision_info info = { 0 };
    if (c->tower->family->vision_info)
        c->tower->family->vision_info(c->tower->self, &info);
    c->width = info.hidden_size ? info.hidden_size : c->tower->hidden_size;
    c->project = !c->decoder.cross_width && c->width != c->decoder.width;
    c->decoder.cross_width = c->decoder.cross_width ? c->decoder.cross_width : c->decoder.width;
    if (!c->project && c->decoder.cross_width != c->width)
        nc_config_mistake(r, "cross_attention_hidden_size %d, the encoder's rows are %d wide", c->decoder.cross_width, c->width);
    m->hidden_size = c->decoder.width;
    m->vocab_size = c->vocab;
    m->max_positions = c->decoder.positions;
}

static void weights(nc_model *m, void *self)
{
    struct ved *c = self;
    nc_submodel_weights(c->tower);
    nc_weight_scope(m, "%s", "");
    c->head = c->decoder.embed = nc_weight_linear(m, "decoder.model.decoder.embed_tokens.weight", c->vocab, c->decoder.width);
    nc_bart_weights(m, &c->decoder, "decoder.model.decoder.");
    nc_weight_scope(m, "%s", "");
    if (!c->tied)
        c->head = nc_weight_linear(m, c->head_name, c->vocab, c->decoder.width);
    if (c->project)
        c->projection = nc_weight_dense(m, "enc_to_dec_proj", c->decoder.width, c->width, true);
}

/* Rows of sines, then cosines: a token's place is how many tokens that are not padding stand before it, itself counted, plus the padding's id. */
static void sinusoids(const struct ved *c, nc_batch *batch, const nc_seq *seqs, int count)
{
    const int D = c->decoder.width, half = D / 2;
    const double step = -log(10000) / (half - 1);
    float *to = nc_batch_f32(batch, "text.sinusoids", nc_batch_count(batch, "tokens"), D);
    for (int i = 0; i < count; i++) {
        int padded = 0;
        for (int j = 0; j < seqs[i].count; j++, to += D) {
            bool pad = seqs[i].ids[j] == c->pad;
            padded += pad;
            int place = pad ? c->pad : seqs[i].start + j - padded + 1 + c->pad;
            memset(to, 0, sizeof *to * (size_t)D);
            for (int k = 0; k < half && place != c->pad; k++) {
                float angle = (float)place * expf((float)k * (float)step);
                to[k] = sinf(angle);
                to[half + k] = cosf(angle);
            }
        }
    }
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
    if (status == 0 && !c->decoder.learned)
        sinusoids(c, batch, seqs, count);
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
    (void)m;
    nc_bart_cross(&((const struct ved *)self)->decoder, b, rows);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const nc_bart_stack *c = &((const struct ved *)self)->decoder;
    (void)m;
    nc_value *pos = c->learned ? nc_in(b, "text.pos", NC_I32, "tokens", 1) : NULL;
    nc_value *sines = c->learned ? NULL : nc_cast(b->g, nc_in(b, "text.sinusoids", NC_F32, "tokens", c->width), nc_graph_compute(b->g));
    nc_value *x = nc_bart_embed(c, b, nc_bart_tokens(c, b, nc_in(b, "text.ids", NC_I32, "tokens", 0)), pos, sines);
    return nc_bart_blocks(c, b, x, nc_in_spans(b, "text"), rows, "decoder.hidden");
}

static void head(const void *self, nc_head *out)
{
    *out = (nc_head){ .w = ((const struct ved *)self)->head, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out) { nc_bart_cache(&((const struct ved *)self)->decoder, out); }

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct ved *c = self;
    if (c->tower->family->capacity)
        c->tower->family->capacity(c->tower->self, b, pictures);
}

static const char *const ignored[] = { "*.relative_position_index", "*.attn_mask", "decoder.lm_head.weight", "decoder.output_projection.weight", "decoder.model.decoder.embed_positions._float_tensor",
                                       "decoder.model.decoder.embed_positions.weights", "decoder.model.decoder.version", NULL };

const nc_family nc_family_vision_encoder_decoder = {
    .name = "vision-encoder-decoder", .architectures = "VisionEncoderDecoderModel", .size = sizeof(struct ved), .config = config, .weights = weights, .ignored = ignored,
    .prepare = prepare, .encoder = encoder, .cross = cross, .encoder_rows = encoder_rows, .decoder = decoder, .head = head, .cache = cache, .capacity = capacity,
};
