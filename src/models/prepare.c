/* prepare.c - the host tables that decoders and towers share. */
#include "models/model.h"

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

int nc_prepare_pictures(nc_batch *batch, const nc_vision_info *info, const nc_pixels *pictures, int count, nc_error *e)
{
    int side = info->image_size / info->patch_size, patches = side * side, rows = patches + info->class_rows;
    int64_t width = (int64_t)info->channels * info->patch_size * info->patch_size;
    float *table = nc_batch_f32(batch, "vision.patches", (int64_t)count * patches, width);
    int32_t *from = nc_batch_i32(batch, "vision.rows", (int64_t)count * rows, 1), *class = nc_batch_i32(batch, "vision.class", (int64_t)count * rows, 1);
    int32_t *pos = nc_batch_i32(batch, "vision.pos", (int64_t)count * rows, 1);
    nc_batch_set_count(batch, "patches", (int64_t)count * patches);
    nc_batch_set_count(batch, "vision", (int64_t)count * rows);
    for (int i = 0; i < count; i++) {
        const nc_pixels *p = &pictures[i];
        if (p->height != info->image_size || p->width != info->image_size || p->channels != info->channels)
            return nc_fail(e, NC_ESHAPE, "picture %d is %d x %d x %d, the tower takes %d x %d x %d", i, p->channels, p->height, p->width, info->channels,
                           info->image_size, info->image_size);
        cut_patches(table + (int64_t)i * patches * width, p, info->patch_size);
        for (int j = 0; j < rows; j++) {
            from[i * rows + j] = j < info->class_rows ? -1 : i * patches + j - info->class_rows;
            class[i * rows + j] = j < info->class_rows ? j : -1;
            pos[i * rows + j] = j;
        }
        nc_batch_add_span(batch, "vision", (nc_span){ .q_row = i * rows, .q_rows = rows, .k_row = i * rows, .k_rows = rows, .slot = -1, .sight = NC_SIGHT_FULL });
    }
    return 0;
}

void nc_capacity_pictures(nc_build *b, const nc_vision_info *info, int64_t pictures)
{
    int64_t side = info->image_size / info->patch_size;
    nc_build_capacity(b, "patches", pictures * side * side);
    nc_build_capacity(b, "vision", pictures * (side * side + info->class_rows));
}
