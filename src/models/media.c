/* media.c - see media.h. */
#include "models/media.h"

static int rows_of(const nc_model *m, const nc_media *media) { return m->family->media_rows(m, m->self, media); }

int nc_media_gather(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, bool *computed, nc_error *e)
{
    int64_t rows = 0, with = 0, without = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            const nc_media *media = &seqs[i].media[j];
            int need = rows_of(m, media);
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

int nc_media_splice(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    int32_t *index = nc_batch_i32(batch, "text.media", nc_batch_count(batch, "tokens"), 1);
    int64_t base = 0;
    for (int i = 0; i < count; i++) {
        const nc_seq *s = &seqs[i];
        int64_t have = 0, used = s->media_row;
        for (int j = 0; j < s->media_count; j++)
            have += rows_of(m, &s->media[j]);
        for (int j = 0; j < s->count; j++) {
            bool holds = nc_is_placeholder(m, s->ids[j]);
            if (holds && used >= have)
                return nc_fail(e, NC_EINVAL, "more media placeholders in a text than its media have rows (%lld)", (long long)have);
            *index++ = holds ? (int32_t)(base + used++) : -1;
        }
        base += have;
    }
    return 0;
}
