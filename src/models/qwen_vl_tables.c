/* qwen_vl_tables.c - the host's part of Qwen's vision-language models: patches, their places, windows, positions of three axes.
 *
 *   text            (p, p, p), p + 1 for each token
 *   a medium at p   (p + time, p + row, p + column) of its merged grid; what follows begins at p + max(rows, columns)
 *   later tokens    index + (largest position + 1 - length of the prompt)
 *   time            the frame's number; Qwen2.5-VL: of a video floor(number * tokens_per_second * seconds between frames)
 *
 * Easy to get wrong: the shift of later tokens comes from the largest position, which a long video's time may be; products of time are rounded down, in f32.
 */
#include "models/qwen_vl.h"

#include <math.h>
#include <stdlib.h>

struct cursor { int64_t position, largest; };

static void put(int32_t *row, int64_t t, int64_t h, int64_t w, struct cursor *at)
{
    row[0] = (int32_t)t;
    row[1] = (int32_t)h;
    row[2] = (int32_t)w;
    int64_t most = t > h ? t : h;
    most = most > w ? most : w;
    at->largest = most > at->largest ? most : at->largest;
}

/* Rows of a merged grid of `frames` steps in time, at most `rows` of them. */
static void put_grid(const nc_qwen_vl *c, const nc_media *media, int frames, int rows, int32_t *out, struct cursor *at)
{
    int down = media->grid_height / c->merge, across = media->grid_width / c->merge;
    float interval = 1;
    if (c->tokens_per_second > 0 && media->kind == NC_MEDIA_VIDEO)
        interval = (float)c->tokens_per_second * (media->seconds_per_grid > 0 ? media->seconds_per_grid : 1);
    for (int i = 0; i < rows && i < frames * down * across; i++) {
        float time = floorf((float)(i / (down * across)) * interval);
        put(out + 3 * i, at->position + (int64_t)fminf(time, 1e9f), at->position + i / across % down, at->position + i % across, at);
    }
    at->position += down > across ? down : across;
}

static int grid_of(const nc_qwen_vl *c, const nc_media *media, nc_error *e)
{
    int64_t width = (int64_t)c->temporal * c->patch * c->patch;
    bool fits = media->grid_height > 0 && media->grid_width > 0 && media->grid_height % c->merge == 0 && media->grid_width % c->merge == 0 && media->count > 0;
    for (int i = 0; fits && !media->features && i < media->count && media->frames; i++)
        fits = media->frames[i].channels == c->channels && media->frames[i].width == width && media->frames[i].height == media->grid_height * media->grid_width;
    if (fits)
        return 0;
    const nc_pixels *first = media->frames;
    return nc_fail(e, NC_ESHAPE, "a medium of %d x %d x %d patches of %d values; this tower takes patches of %d x %d x %d x %d, their rows and columns multiples of %d: "
                   "preprocessor_config.json and vision_config disagree", media->count, media->grid_height, media->grid_width, first ? first->channels * first->width : 0, c->channels,
                   c->temporal, c->patch, c->patch, c->merge);
}

int nc_qwen_vl_positions(const nc_model *m, const void *self, const int32_t *ids, int count, const nc_media *media, int media_count, nc_positions *out, nc_error *e)
{
    const nc_qwen_vl *c = self;
    struct cursor at = { 0, -1 };
    int medium = 0, frame = 0;
    *out = (nc_positions){ nc_xmalloc(sizeof *out->table * 3 * ((size_t)count + 1)), count, 3, 0 };
    for (int i = 0; i < count;) {
        if (!nc_is_placeholder(m, ids[i]) || medium == media_count) {
            put(out->table + 3 * i++, at.position, at.position, at.position, &at);
            at.position++;
            continue;
        }
        int status = grid_of(c, &media[medium], e);
        if (status < 0) {
            free(out->table);
            *out = (nc_positions){ 0 };
            return status;
        }
        int frames = c->frames_apart ? 1 : media[medium].count, run = 0;
        int rows = frames * (media[medium].grid_height / c->merge) * (media[medium].grid_width / c->merge);
        while (run < rows && i + run < count && nc_is_placeholder(m, ids[i + run]))
            run++;
        put_grid(c, &media[medium], frames, run, out->table + 3 * i, &at);
        i += run;
        frame += frames;
        if (frame >= media[medium].count) {
            medium++;
            frame = 0;
        }
    }
    out->shift = (int)(at.largest + 1 - count);
    return 0;
}

static int text_positions(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    int32_t *to = nc_batch_i32(batch, "text.pos", nc_batch_count(batch, "tokens"), 3);
    for (int i = 0; i < count; i++) {
        const nc_seq *s = &seqs[i];
        nc_positions own = { 0 };
        const nc_positions *p = s->positions ? s->positions : &own;
        if (!s->positions && s->start == 0 && s->media_count)
            NC_TRY(nc_qwen_vl_positions(m, m->self, s->ids, s->count, s->media, s->media_count, &own, e));
        for (int j = 0; j < s->count; j++, to += 3)
            for (int axis = 0; axis < 3; axis++)
                to[axis] = s->start + j < p->rows ? p->table[3 * (s->start + j) + axis] : s->start + j + p->shift;
        free(own.table);
    }
    return 0;
}

/* ---- tower ---- */

struct rows { float *patches, *share; int32_t *pos, *taps, *order, *back; int unit; };

/* Row and column of a patch of a frame, whose patches come in blocks of merge x merge. */
static void place(const nc_qwen_vl *c, int across, int i, int *y, int *x)
{
    int unit = c->merge * c->merge, block = i / unit, inner = i % unit, blocks = across / c->merge;
    *y = block / blocks * c->merge + inner / c->merge;
    *x = block % blocks * c->merge + inner % c->merge;
}

/* Where place `i` of `n` lies in the table of positions, whose corners are the picture's: the place before and its share; the next has the rest. */
static int corner(int i, int n, int side, float *rest)
{
    float source = n > 1 ? (float)i * (float)(side - 1) / (float)(n - 1) : 0;
    int floor = (int)source;
    *rest = source - (float)floor;
    return floor;
}

static void taps(const nc_qwen_vl *c, int y, int x, int down, int across, int32_t *index, float *share)
{
    float fy, fx;
    int iy = corner(y, down, c->side, &fy), ix = corner(x, across, c->side, &fx);
    for (int k = 0; k < 4; k++) {
        int row = iy + k / 2 < c->side ? iy + k / 2 : c->side - 1, column = ix + k % 2 < c->side ? ix + k % 2 : c->side - 1;
        index[k] = row * c->side + column;
        share[k] = (k / 2 ? fy : 1 - fy) * (k % 2 ? fx : 1 - fx);
    }
}

/* The merged units of a frame in the order of their windows; a span for each window. */
static void windows(const nc_qwen_vl *c, nc_batch *batch, int down, int across, int first, int32_t *order)
{
    int n = 0, unit = c->merge * c->merge;
    for (int top = 0; top < down; top += c->window)
        for (int left = 0; left < across; left += c->window) {
            int begin = n;
            for (int y = top; y < top + c->window && y < down; y++)
                for (int x = left; x < left + c->window && x < across; x++)
                    order[n++] = first + y * across + x;
            nc_batch_add_span(batch, "vision.windows", (nc_span){ .q_row = (first + begin) * unit, .q_rows = (n - begin) * unit, .k_row = (first + begin) * unit,
                                                                  .k_rows = (n - begin) * unit, .slot = -1, .sight = NC_SIGHT_FULL });
        }
}

static void fill_frame(const nc_qwen_vl *c, nc_batch *batch, const nc_media *media, const float *pixels, int first, const struct rows *r)
{
    int down = media->grid_height, across = media->grid_width, unit = r->unit, patches = down * across;
    size_t width = (size_t)c->channels * (size_t)c->temporal * (size_t)c->patch * (size_t)c->patch;
    memcpy(r->patches + (size_t)first * (size_t)unit * width, pixels, sizeof *pixels * width * (size_t)patches);
    nc_batch_add_span(batch, "vision", (nc_span){ .q_row = first * unit, .q_rows = patches, .k_row = first * unit, .k_rows = patches, .slot = -1, .sight = NC_SIGHT_FULL });
    if (c->window)
        windows(c, batch, down / c->merge, across / c->merge, first, r->order + first);
    for (int k = 0; k < patches / unit; k++) {
        int from = c->window ? r->order[first + k] : first + k;
        if (c->window)
            r->back[from] = first + k;
        for (int j = 0; j < unit; j++) {
            int y, x, to = (first + k) * unit + j;
            place(c, across, (from - first) * unit + j, &y, &x);
            r->pos[2 * to] = y;
            r->pos[2 * to + 1] = x;
            if (c->side)
                taps(c, y, x, down, across, r->taps + 4 * to, r->share + 4 * to);
        }
    }
}

static int tower_tables(const nc_qwen_vl *c, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    int64_t media = nc_batch_count(batch, "media"), unit = (int64_t)c->merge * c->merge, width = (int64_t)c->channels * c->temporal * c->patch * c->patch;
    struct rows r = { .unit = (int)unit };
    if (media * unit > INT32_MAX)
        return nc_fail(e, NC_ELIMIT, "%lld patches are too many at once", (long long)(media * unit));
    r.patches = nc_batch_f32(batch, "vision.patches", media, unit * width);
    r.pos = nc_batch_i32(batch, "vision.pos", media, unit * 2);
    if (c->side) {
        r.taps = nc_batch_i32(batch, "vision.taps", media, unit * 4);
        r.share = nc_batch_f32(batch, "vision.share", media, unit * 4);
    }
    if (c->window) {
        r.order = nc_batch_i32(batch, "vision.order", media, 1);
        r.back = nc_batch_i32(batch, "vision.back", media, 1);
    }
    int first = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < seqs[i].media_count; j++) {
            const nc_media *one = &seqs[i].media[j];
            NC_TRY(grid_of(c, one, e));
            for (int f = 0; f < one->count; f++) {
                fill_frame(c, batch, one, one->frames[f].data, first, &r);
                first += one->grid_height * one->grid_width / (int)unit;
            }
        }
    return 0;
}

int nc_qwen_vl_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    bool computed;
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    NC_TRY(text_positions(m, batch, seqs, count, e));
    NC_TRY(nc_media_gather(m, batch, seqs, count, &computed, e));
    if (!computed)
        NC_TRY(tower_tables(self, batch, seqs, count, e));
    nc_media_splice(m, batch, seqs, count);
    return 0;
}
