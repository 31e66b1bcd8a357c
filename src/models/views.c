/* views.c - media that decoder blocks attend to: from what each row of a text sees to the spans of a step.
 *
 * A run of rows that see the same is one span. Without a cache its keys are rows of the media's stream; with one they are the first `rows` keys behind a page of the sequence's cross
 * slot. Either way keys are cut into blocks from the beginning of their group, so a row has the same bits.
 */
#include "models/model.h"

#include <stdlib.h>

void nc_views_new(nc_views *out, int count, const int *rows, int media)
{
    *out = (nc_views){ .of = nc_xcalloc((size_t)count + 1, sizeof *out->of), .count = count, .group = nc_xcalloc((size_t)media + 1, sizeof *out->group), .groups = media };
    for (int i = 0, row = 0; i < media; i++) {
        out->group[i] = (nc_view){ .row = row, .rows = rows[i], .page = out->pages };
        row += rows[i];
        out->pages += (rows[i] + NC_KEY_BLOCK - 1) / NC_KEY_BLOCK;
    }
}

void nc_views_free(nc_views *v)
{
    free(v->of);
    free(v->group);
    *v = (nc_views){ 0 };
}

static bool same(nc_view a, nc_view b) { return a.row == b.row && a.rows == b.rows; }

/* What row `index` of the whole text sees. */
static nc_view view_of(const nc_views *v, int index)
{
    return v && v->count ? v->of[index < v->count ? index : v->count - 1] : (nc_view){ 0 };
}

static void add(nc_batch *batch, const nc_seq *s, nc_view v, int32_t row, int32_t rows, int32_t media_row)
{
    nc_span span = { .q_row = row, .q_rows = rows, .slot = s->cross_slot, .sight = NC_SIGHT_FULL };
    if (s->media_count) {
        span.k_row = media_row + v.row;
        span.k_rows = v.rows;
        span.page = rows ? 0 : v.page;
    } else {
        span.q_index = v.rows;
        span.page = v.page;
    }
    nc_batch_add_span(batch, "cross", span);
}

/* The spans of one stretch whose rows begin at `row` and whose media's rows begin at `media_row`. */
static void stretch(nc_batch *batch, const nc_seq *s, const nc_views *v, int32_t row, int32_t media_row)
{
    for (int i = 0; s->count == 0 && v && i < v->groups; i++)
        add(batch, s, v->group[i], row, 0, media_row);
    for (int i = 0, next; i < s->count; i = next) {
        nc_view here = view_of(v, s->start + i);
        for (next = i + 1; next < s->count && same(here, view_of(v, s->start + next)); next++)
            continue;
        if (here.rows)
            add(batch, s, here, row + i, next - i, media_row);
    }
}

int nc_prepare_views(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    int32_t row = 0, media_row = 0;
    for (int i = 0; i < count; i++) {
        const nc_seq *s = &seqs[i];
        nc_views own = { 0 };
        if (!s->views && s->start == 0 && s->count && s->media_count)
            NC_TRY(m->family->views(m, m->self, s->ids, s->prompt > 0 && s->prompt < s->count ? s->prompt : s->count, s->media, s->media_count, &own, e));
        stretch(batch, s, s->views ? s->views : own.of ? &own : NULL, row, media_row);
        nc_views_free(&own);
        row += s->count;
        for (int j = 0; j < s->media_count; j++)
            media_row += m->family->feature_rows(m->self, &s->media[j]);
    }
    return 0;
}
