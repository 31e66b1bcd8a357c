/* prepare.c - the host tables that decoders and towers share. */
#include "models/model.h"

#include <stdlib.h>

static int check_ids(const nc_seq *s, nc_error *e)
{
    if (s->count < 0 || s->start < 0)
        return nc_fail(e, NC_EINVAL, "a sequence of %d tokens from index %d", s->count, s->start);
    for (int i = 0; i < s->count; i++)
        if (s->ids[i] < 0)
            return nc_fail(e, NC_EINVAL, "token %d of a sequence is %d", i, s->ids[i]);
    return 0;
}

static int64_t scored_rows(const nc_seq *s)
{
    int64_t n = 0;
    if (s->targets)
        for (int i = 0; i < s->count; i++)
            n += s->targets[i] >= 0;
    return s->targets ? n : s->want_logits;
}

int nc_prepare_text(nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    int64_t tokens = 0, scored = 0, row = 0, score = 0;
    for (int i = 0; i < count; i++) {
        NC_TRY(check_ids(&seqs[i], e));
        tokens += seqs[i].count;
        scored += scored_rows(&seqs[i]);
    }
    int32_t *ids = nc_batch_i32(batch, "text.ids", tokens, 1), *pos = nc_batch_i32(batch, "text.pos", tokens, 1);
    int32_t *rows = nc_batch_i32(batch, "score.rows", scored, 1), *targets = nc_batch_i32(batch, "score.targets", scored, 1);
    float *weights = nc_batch_f32(batch, "score.weights", scored, 1);
    nc_batch_set_count(batch, "tokens", tokens);
    nc_batch_set_count(batch, "scored", scored);
    for (int i = 0; i < count; i++) {
        const nc_seq *s = &seqs[i];
        nc_batch_add_span(batch, "text", (nc_span){ .q_row = (int32_t)row, .q_rows = s->count, .k_row = (int32_t)row, .k_rows = s->count,
                                                    .q_index = s->start, .slot = s->slot, .sight = NC_SIGHT_CAUSAL });
        for (int j = 0; j < s->count; j++) {
            bool scores = s->targets ? s->targets[j] >= 0 : s->want_logits && j == s->count - 1;
            ids[row + j] = s->ids[j];
            pos[row + j] = s->start + j;
            if (scores) {
                rows[score] = (int32_t)(row + j);
                targets[score] = s->targets ? s->targets[j] : -1;
                weights[score++] = s->weight;
            }
        }
        row += s->count;
    }
    return 0;
}

void nc_prepare_prefix(nc_batch *batch, const nc_seq *seqs, int count)
{
    nc_spans spans = nc_batch_spans(batch, "text");
    for (int i = 0; i < count && i < spans.count; i++) {
        const nc_seq *s = &seqs[i];
        int prefix = s->prompt;
        for (int j = 0; prefix == 0 && s->targets && j < s->count; j++)
            prefix = s->targets[j] >= 0 ? s->start + j + 1 : 0;
        prefix = prefix ? prefix : s->start == 0 ? s->count : 0;
        if (s->start >= prefix)
            continue;
        spans.span[i].sight = NC_SIGHT_PREFIX;
        spans.span[i].prefix = prefix;
    }
}

void nc_prepare_cross(nc_batch *batch, const nc_seq *seqs, int count, const int *rows)
{
    int32_t row = 0, key = 0;
    for (int i = 0; i < count; i++) {
        const nc_seq *s = &seqs[i];
        bool here = rows[i] > 0;
        nc_batch_add_span(batch, "cross", (nc_span){ .q_row = row, .q_rows = s->count, .k_row = here ? key : 0, .k_rows = rows[i], .q_index = here ? 0 : s->cross_rows,
                                                     .slot = s->cross_slot, .sight = NC_SIGHT_FULL });
        row += s->count;
        key += rows[i];
    }
}

int nc_prepare_seq2seq(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    int64_t total = 0, row = 0;
    (void)self;
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    for (int i = 0; i < count; i++)
        total += seqs[i].source_count;
    int32_t *ids = nc_batch_i32(batch, "source.ids", total, 1), *pos = nc_batch_i32(batch, "source.pos", total, 1);
    int *rows = nc_xcalloc((size_t)count + 1, sizeof *rows);
    nc_batch_set_count(batch, "source", total);
    int status = 0;
    for (int i = 0; i < count && status == 0; i++) {
        const nc_seq *s = &seqs[i];
        rows[i] = s->source_count;
        if (s->source_count == 0)
            continue;
        if (m->max_source > 0 && s->source_count > m->max_source)
            status = nc_fail(e, NC_ELIMIT, "a source of %d tokens; the encoder has positions for %d", s->source_count, m->max_source);
        nc_batch_add_span(batch, "source", (nc_span){ .q_row = (int32_t)row, .q_rows = s->source_count, .k_row = (int32_t)row, .k_rows = s->source_count, .slot = -1,
                                                      .sight = NC_SIGHT_FULL });
        for (int j = 0; j < s->source_count && status == 0; j++) {
            if (s->source[j] < 0 || (m->vocab_size > 0 && s->source[j] >= m->vocab_size))
                status = nc_fail(e, NC_EINVAL, "token %d of a source is %d, the vocabulary has %d", j, s->source[j], m->vocab_size);
            ids[row + j] = s->source[j];
            pos[row + j] = j;
        }
        row += s->source_count;
    }
    nc_prepare_cross(batch, seqs, count, rows);
    free(rows);
    return status;
}

/* The patches of one picture, each as [channels, patch, patch], row by row. */
static void cut_patches(float *out, const nc_pixels *p, int patch)
{
    int down = p->height / patch, across = p->width / patch;
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            for (int c = 0; c < p->channels; c++)
                for (int i = 0; i < patch; i++, out += patch)
                    memcpy(out, p->data + ((size_t)c * (size_t)p->height + (size_t)(y * patch + i)) * (size_t)p->width + (size_t)(x * patch), sizeof *out * (size_t)patch);
}

/* The same as [patch, patch, channels]. */
static void cut_patches_last(float *out, const nc_pixels *p, int patch)
{
    int down = p->height / patch, across = p->width / patch;
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            for (int i = 0; i < patch; i++)
                for (int j = 0; j < patch; j++)
                    for (int c = 0; c < p->channels; c++)
                        *out++ = p->data[((size_t)c * (size_t)p->height + (size_t)(y * patch + i)) * (size_t)p->width + (size_t)(x * patch + j)];
}

void nc_picture_of_patches(const float *rows, int down, int across, int patch, int channels, float *out)
{
    size_t height = (size_t)(down * patch), width = (size_t)(across * patch);
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            for (int i = 0; i < patch; i++)
                for (int j = 0; j < patch; j++)
                    for (int c = 0; c < channels; c++)
                        out[((size_t)c * height + (size_t)(y * patch + i)) * width + (size_t)(x * patch + j)] = *rows++;
}

struct grid { int down, across, rows; };

static int grid_of(const nc_vision_info *info, const nc_pixels *p, struct grid *g, nc_error *e)
{
    *g = (struct grid){ p->height / info->patch_size, p->width / info->patch_size, 0 };
    g->rows = g->down * g->across + info->class_rows + info->register_rows;
    if (p->channels != info->channels || p->height < info->patch_size || p->width < info->patch_size)
        return nc_fail(e, NC_ESHAPE, "a picture of %d x %d x %d for a tower that takes %d channels and patches of %d", p->channels, p->height, p->width, info->channels,
                       info->patch_size);
    return 0;
}

/* Rows of one picture: where each comes from, its position, and the interpolated position where any_size programs ask for it. */
static void picture_rows(const nc_vision_info *info, const struct grid *g, int first_patch, int32_t *from, int32_t *class, int32_t *pos, int32_t *taps, float *share)
{
    const int n = nc_position_taps(info);
    for (int j = 0; j < g->rows; j++) {
        int patch = j - info->class_rows - info->register_rows;
        from[j] = patch < 0 ? -1 : first_patch + patch;
        class[j] = patch < 0 ? j : -1;
        pos[j] = j < info->class_rows ? j : patch < 0 ? -1 : info->class_rows + patch;
        for (int i = 0; i < n; i++) {
            taps[n * j + i] = i || patch >= 0 ? -1 : pos[j];
            share[n * j + i] = i == 0;
        }
        if (patch >= 0)
            nc_position_tap(info, patch / g->across, patch % g->across, g->down, g->across, taps + n * j, share + n * j);
    }
}

/* Rows that the tower made of these pictures earlier, end to end. */
static int given_rows(nc_batch *batch, const nc_vision_info *info, const nc_pixels *pictures, int count, int64_t rows, nc_error *e)
{
    const nc_dtype t = pictures[0].rows_dtype;
    char *to = nc_batch_table(batch, "vision.given", t, rows, info->hidden_size);
    struct grid g;
    for (int i = 0; i < count; i++) {
        if (!pictures[i].rows || pictures[i].rows_dtype != t)
            return nc_fail(e, NC_EINVAL, "picture %d has no computed rows, others of its batch have", i);
        NC_TRY(grid_of(info, &pictures[i], &g, e));
        const size_t bytes = nc_dtype_bytes(t, (int64_t)g.rows * info->hidden_size);
        memcpy(to, pictures[i].rows, bytes);
        to += bytes;
    }
    nc_batch_set_count(batch, "patches", 0);
    nc_batch_set_count(batch, "vision", rows);
    return 0;
}

int nc_prepare_pictures(nc_batch *batch, const nc_vision_info *info, const nc_pixels *pictures, int count, nc_error *e)
{
    int64_t width = (int64_t)info->channels * info->patch_size * info->patch_size, patches = 0, rows = 0;
    const int n = nc_position_taps(info);
    struct grid g;
    for (int i = 0; i < count; i++) {
        NC_TRY(grid_of(info, &pictures[i], &g, e));
        patches += g.down * g.across;
        rows += g.rows;
    }
    if (count > 0 && pictures[0].rows)
        return given_rows(batch, info, pictures, count, rows, e);
    float *table = nc_batch_f32(batch, "vision.patches", patches, width), *share = nc_batch_f32(batch, "vision.share", rows, n);
    int32_t *from = nc_batch_i32(batch, "vision.rows", rows, 1), *class = nc_batch_i32(batch, "vision.class", rows, 1);
    int32_t *pos = nc_batch_i32(batch, "vision.pos", rows, 1), *taps = nc_batch_i32(batch, "vision.taps", rows, n);
    nc_batch_set_count(batch, "patches", patches);
    nc_batch_set_count(batch, "vision", rows);
    int patch = 0, row = 0;
    for (int i = 0; i < count; i++) {
        NC_TRY(grid_of(info, &pictures[i], &g, e));
        (info->channels_last ? cut_patches_last : cut_patches)(table + patch * width, &pictures[i], info->patch_size);
        picture_rows(info, &g, patch, from + row, class + row, pos + row, taps + n * row, share + n * row);
        nc_batch_add_span(batch, "vision", (nc_span){ .q_row = row, .q_rows = g.rows, .k_row = row, .k_rows = g.rows, .slot = -1, .sight = NC_SIGHT_FULL });
        patch += g.down * g.across;
        row += g.rows;
    }
    return 0;
}

int nc_prepare_samples(nc_batch *batch, const nc_vision_info *info, const nc_seq *seqs, int count, nc_error *e)
{
    nc_pixels *pictures = nc_xcalloc((size_t)count + 1, sizeof *pictures);
    int status = 0;
    for (int i = 0; i < count && status == 0; i++) {
        if (seqs[i].media_count != 1 || seqs[i].media[0].count != 1)
            status = nc_fail(e, NC_EINVAL, "sample %d has no picture or several", i);
        else
            pictures[i] = seqs[i].media[0].frames[0];
    }
    if (status == 0)
        status = nc_prepare_pictures(batch, info, pictures, count, e);
    free(pictures);
    nc_batch_set_count(batch, "pictures", count);
    return status;
}

void nc_capacity_pictures(nc_build *b, const nc_vision_info *info, int64_t pictures)
{
    int64_t side = info->image_size / info->patch_size;
    nc_build_capacity(b, "patches", pictures * side * side);
    nc_build_capacity(b, "vision", pictures * (side * side + info->class_rows + info->register_rows));
}
