/* media.c - see media.h. */
#include "models/media.h"

#include <stdlib.h>

static int rows_of(const nc_model *m, const nc_media *media) { return m->family->media_rows(m, m->self, media); }

int nc_media_gather(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, bool *computed, nc_error *e)
{
    int64_t rows = 0, with = 0, without = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            const nc_media *media = &seqs[i].media[j];
            int need = m->family->feature_rows ? m->family->feature_rows(m->self, media) : rows_of(m, media);
            if (media->features && media->feature_rows != need)
                return nc_fail(e, NC_EINVAL, "sequence %d: media %d has %d computed rows, %d are needed", i, j, media->feature_rows, need);
            *(media->features ? &with : &without) += 1;
            rows += need;
        }
    if (with && without)
        return nc_fail(e, NC_EINVAL, "a batch mixes media with and without computed features");
    nc_batch_set_count(batch, "media", rows);
    *computed = with > 0;
    if (!with)
        return 0;
    int width = nc_model_media_width(m);
    nc_dtype t = NC_F32;
    for (int i = 0; i < count; i++)
        if (seqs[i].media_count)
            t = seqs[i].feature_dtype;
    size_t row_bytes = nc_dtype_bytes(t, width);
    char *out = nc_batch_table(batch, "media.features", t, rows, width);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            const nc_media *media = &seqs[i].media[j];
            memcpy(out, media->features, row_bytes * (size_t)media->feature_rows);
            out += row_bytes * (size_t)media->feature_rows;
        }
    return 0;
}

void nc_media_splice(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count)
{
    const bool in_source = m->family->encoder != NULL;
    int32_t *index = nc_batch_i32(batch, in_source ? "source.media" : "text.media", nc_batch_count(batch, in_source ? "source" : "tokens"), 1);
    int64_t base = 0;
    for (int i = 0; i < count; i++) {
        const nc_seq *s = &seqs[i];
        const int32_t *ids = in_source ? s->source : s->ids;
        int64_t have = 0, used = s->media_row;
        for (int j = 0; j < s->media_count; j++)
            have += rows_of(m, &s->media[j]);
        for (int j = 0; j < (in_source ? s->source_count : s->count); j++) {
            bool holds = nc_is_placeholder(m, ids[j]) && used < have;
            *index++ = holds ? (int32_t)(base + used++) : -1;
        }
        base += have;
    }
}

nc_value *nc_source_media(nc_build *b, nc_value *x, nc_value *media)
{
    return media ? nc_splice_rows(b->g, x, media, nc_in(b, "source.media", NC_I32, "source", 0)) : x;
}

/* ---- a tower and a decoder ---- */

/* Releases differ in which of both configs says that the head is the embedding. */
static void pass_tied(nc_model *m, bool tied)
{
    nc_json *text = (nc_json *)(uintptr_t)nc_json_get(m->config, "text_config");      /* the model's own copy */
    const nc_json *whole = nc_json_get(m->config, "tie_word_embeddings");
    if (!text || text->type != NC_JSON_OBJECT || nc_json_get(text, "tie_word_embeddings"))
        return;
    nc_json_set(m->arena, text, "tie_word_embeddings", nc_json_new_bool(m->arena, whole ? nc_json_bool(whole, tied) : tied));
}

bool nc_vision_text_config(nc_model *m, nc_vision_text *c, nc_config *r, bool tied)
{
    return nc_vision_text_config_at(m, c, r, tied, "vision_tower.", "language_model.");
}

bool nc_vision_text_config_at(nc_model *m, nc_vision_text *c, nc_config *r, bool tied, const char *vision, const char *text)
{
    pass_tied(m, tied);
    nc_config_bool(r, "tie_word_embeddings", tied);
    c->vision = nc_submodel(m, r, "vision_config", vision);
    c->text = nc_submodel(m, r, "text_config", text);
    if (!c->vision || !c->text)
        return false;
    if (!c->vision->family->vision_info || !c->text->family->decoder || c->text->family->tower || !c->text->family->encoder != !m->family->encoder) {
        nc_config_mistake(r, "a %s and a %s make no %s", c->vision->family->name, c->text->family->name, m->family->name);
        return false;
    }
    c->vision->family->vision_info(c->vision->self, &c->info);
    m->hidden_size = c->text->hidden_size;
    m->media_width = c->text->media_width;
    m->vocab_size = c->text->vocab_size;
    m->max_positions = c->text->max_positions;
    m->max_source = c->text->max_source;
    return c->info.patch_size > 0;
}

nc_value *nc_vision_text_encoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const nc_vision_text *c = self;
    (void)m;
    return nc_model_encoder(c->text, b, media);
}

void nc_vision_text_cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const nc_vision_text *c = self;
    (void)m;
    c->text->family->cross(c->text, c->text->self, b, rows);
}

nc_value *nc_vision_text_decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const nc_vision_text *c = self;
    (void)m;
    return c->text->family->decoder(c->text, c->text->self, b, media);
}

void nc_vision_text_head(const void *self, nc_head *out)
{
    const nc_vision_text *c = self;
    c->text->family->head(c->text->self, out);
}

void nc_vision_text_cache(const void *self, nc_cache_need *out)
{
    const nc_vision_text *c = self;
    c->text->family->cache(c->text->self, out);
}

int nc_vision_text_regime(const void *self, int length)
{
    const nc_vision_text *c = self;
    return c->text->family->regime ? c->text->family->regime(c->text->self, length) : 0;
}

int nc_media_see(const nc_vision_info *info, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_tower_tables *tower, nc_error *e)
{
    int pictures = 0, status = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++)
            pictures += seqs[i].media[j].count;
    nc_pixels *p = nc_xcalloc((size_t)pictures + 1, sizeof *p);
    pictures = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++)
            for (int f = 0; f < seqs[i].media[j].count; f++)
                p[pictures++] = seqs[i].media[j].frames[f];
    for (int i = 0; i < pictures && status == 0; i++)
        if (p[i].height != info->image_size || p[i].width != info->image_size || p[i].channels != info->channels)
            status = nc_fail(e, NC_ESHAPE, "picture %d is %d x %d x %d, the tower takes %d x %d x %d", i, p[i].channels, p[i].height, p[i].width, info->channels, info->image_size,
                             info->image_size);
    if (status == 0)
        status = tower(self, batch, p, pictures, e);
    free(p);
    return status;
}

int nc_vision_text_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_tower_tables *tower, nc_error *e)
{
    const nc_vision_text *c = self;
    bool computed;
    NC_TRY(c->text->family->prepare ? c->text->family->prepare(c->text, c->text->self, batch, seqs, count, e) : nc_prepare_text(batch, seqs, count, e));
    NC_TRY(nc_media_gather(m, batch, seqs, count, &computed, e));
    if (!computed)
        NC_TRY(nc_media_see(&c->info, c, batch, seqs, count, tower, e));
    nc_media_splice(m, batch, seqs, count);
    return 0;
}

void nc_media_blocks(nc_batch *batch, int count, int side, int k, int before)
{
    const int across = side / k, each = side * side + before;
    int32_t *from = nc_batch_i32(batch, "media.from", (int64_t)count * across * across, k * k);
    for (int p = 0; p < count; p++)
        for (int i = 0; i < across * across; i++)
            for (int j = 0; j < k * k; j++)
                *from++ = p * each + before + (i / across * k + j / k) * side + i % across * k + j % k;
}
