/* swin_tables.c - the host side of swin.h: patches, windows and neighbours of pictures of any sizes as index tables. */
#include "models/swin.h"

#include <stdio.h>
#include <stdlib.h>

/* A picture's grid at a stage, and how windows lie on it. */
struct grid { int down, across; };
struct cut { int window, move, rows, columns; };             /* rows, columns: of windows */

static int up(int n, int by) { return (n + by - 1) / by; }

static struct grid grid_of(const nc_swin *c, int height, int width, int stage)
{
    struct grid g = { up(height, c->patch), up(width, c->patch) };
    for (; stage > 0; stage--)
        g = (struct grid){ up(g.down, 2), up(g.across, 2) };
    return g;
}

/* A grid that is no larger than a window is one window (of the grid's shorter side), not moved. */
static struct cut cut_of(const nc_swin *c, struct grid g, int stage, int moved)
{
    const nc_swin_stage *s = &c->stage[stage];
    if (s->window)
        return (struct cut){ s->window, moved ? s->move : 0, up(g.down, s->window), up(g.across, s->window) };
    int least = g.down < g.across ? g.down : g.across, window = least <= c->window ? least : c->window;
    return (struct cut){ window, moved && least > c->window ? c->window / 2 : 0, up(g.down, window), up(g.across, window) };
}

static int64_t window_rows(struct cut k) { return (int64_t)k.rows * k.columns * k.window * k.window; }

int nc_swin_rows(const nc_swin *c, int height, int width)
{
    struct grid g = grid_of(c, height, width, c->stages - 1);
    return g.down * g.across;
}

/* Which of three bands of the moved grid an index lies in; windows hold two of them at most. */
static int band(int at, int size, struct cut k) { return !k.move ? 0 : (at >= size - k.window) + (at >= size - k.move); }

struct tables { int32_t *rows, *back, *code; int32_t row; nc_batch *batch; const char *spans; };

/* One window: its cells part by part (bands that were no neighbours), each part a span. */
static void window(int side, struct tables *t, struct grid g, struct cut k, int wy, int wx, int32_t first)
{
    const int down = k.rows * k.window, across = k.columns * k.window;
    for (int part = 0; part < 9; part++) {
        int32_t begin = t->row;
        for (int cell = 0; cell < k.window * k.window; cell++) {
            int y = cell / k.window, x = cell % k.window, sy = wy * k.window + y, sx = wx * k.window + x;
            if (band(sy, down, k) * 3 + band(sx, across, k) != part)
                continue;
            int iy = (sy + k.move) % down, ix = (sx + k.move) % across;
            bool real = iy < g.down && ix < g.across;
            t->rows[t->row] = real ? first + iy * g.across + ix : -1;
            t->code[t->row] = -(y * (2 * side - 1) + x);
            if (real)
                t->back[first + iy * g.across + ix] = t->row;
            t->row++;
        }
        if (t->row > begin)
            nc_batch_add_span(t->batch, t->spans, (nc_span){ .q_row = begin, .q_rows = t->row - begin, .k_row = begin, .k_rows = t->row - begin, .slot = -1, .sight = NC_SIGHT_FULL });
    }
}

static void windows(const nc_swin *c, nc_batch *batch, const nc_pixels *pictures, int count, int stage, int moved)
{
    char rows[32], back[32], code[32], spans[32];
    int64_t cells = 0, total = 0;
    snprintf(rows, sizeof rows, "swin.%d.%d.rows", stage, moved);
    snprintf(back, sizeof back, "swin.%d.%d.back", stage, moved);
    snprintf(code, sizeof code, "swin.%d.%d.code", stage, moved);
    snprintf(spans, sizeof spans, "swin.%d.%d", stage, moved);
    for (int i = 0; i < count; i++) {
        struct grid g = grid_of(c, pictures[i].height, pictures[i].width, stage);
        total += (int64_t)g.down * g.across;
        cells += window_rows(cut_of(c, g, stage, moved));
    }
    struct tables t = { nc_batch_i32(batch, rows, cells, 1), nc_batch_i32(batch, back, total, 1), nc_batch_i32(batch, code, cells, 1), 0, batch, spans };
    nc_batch_set_count(batch, spans, cells);
    int32_t first = 0;
    for (int i = 0; i < count; i++) {
        struct grid g = grid_of(c, pictures[i].height, pictures[i].width, stage);
        struct cut k = cut_of(c, g, stage, moved);
        for (int w = 0; w < k.rows * k.columns; w++)
            window(nc_swin_window(c, stage), &t, g, k, w / k.columns, w % k.columns, first);
        first += g.down * g.across;
    }
}

/* The four cells each row of the next stage is made of, column by column; -1 beyond an odd edge. */
static void neighbours(const nc_swin *c, nc_batch *batch, const nc_pixels *pictures, int count, int stage)
{
    char name[32];
    int64_t rows = nc_batch_count(batch, (snprintf(name, sizeof name, "swin.%d", stage + 1), name));
    snprintf(name, sizeof name, "swin.%d.merge", stage);
    int32_t *to = nc_batch_i32(batch, name, rows, 4), first = 0;
    for (int i = 0; i < count; i++) {
        struct grid g = grid_of(c, pictures[i].height, pictures[i].width, stage);
        for (int y = 0; y < up(g.down, 2); y++)
            for (int x = 0; x < up(g.across, 2); x++)
                for (int k = 0; k < 4; k++) {
                    int iy = 2 * y + k % 2, ix = 2 * x + k / 2;
                    *to++ = iy < g.down && ix < g.across ? first + iy * g.across + ix : -1;
                }
        first += g.down * g.across;
    }
}

/* Patches [channels, patch, patch] of a picture, what lies beyond its edge 0. */
static float *patches(const nc_swin *c, const nc_pixels *p, float *to)
{
    struct grid g = grid_of(c, p->height, p->width, 0);
    for (int cell = 0; cell < g.down * g.across; cell++)
        for (int i = 0; i < c->channels * c->patch; i++, to += c->patch) {
            int y = cell / g.across * c->patch + i % c->patch, x = cell % g.across * c->patch, live = p->width - x < c->patch ? p->width - x : c->patch;
            memset(to, 0, sizeof *to * (size_t)c->patch);
            if (y < p->height)
                memcpy(to, p->data + ((size_t)(i / c->patch) * (size_t)p->height + (size_t)y) * (size_t)p->width + x, sizeof *to * (size_t)live);
        }
    return to;
}

int nc_swin_prepare(const nc_swin *c, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    char name[32];
    for (int i = 0; i < count; i++)
        if (pictures[i].channels != c->channels || pictures[i].height < 1 || pictures[i].width < 1 || pictures[i].height > 1 << 15 || pictures[i].width > 1 << 15)
            return nc_fail(e, NC_ESHAPE, "a picture of %d x %d x %d for a tower that takes %d channels", pictures[i].channels, pictures[i].height, pictures[i].width, c->channels);
    for (int s = 0; s < c->stages; s++) {
        int64_t rows = 0;
        for (int i = 0; i < count; i++) {
            struct grid g = grid_of(c, pictures[i].height, pictures[i].width, s);
            rows += (int64_t)g.down * g.across;
        }
        snprintf(name, sizeof name, "swin.%d", s);
        nc_batch_set_count(batch, name, rows);
        if (s == 0) {
            float *to = nc_batch_f32(batch, "swin.patches", rows, (int64_t)c->channels * c->patch * c->patch);
            for (int i = 0; i < count; i++)
                to = patches(c, &pictures[i], to);
        } else {
            neighbours(c, batch, pictures, count, s - 1);
        }
        for (int moved = 0; moved < 2 && moved < c->stage[s].depth; moved++)
            windows(c, batch, pictures, count, s, moved);
    }
    return 0;
}

void nc_swin_capacity(const nc_swin *c, nc_build *b, int64_t pictures)
{
    char name[32];
    for (int s = 0; s < c->stages; s++) {
        struct grid g = grid_of(c, c->height, c->width, s);
        snprintf(name, sizeof name, "swin.%d", s);
        nc_build_capacity(b, name, pictures * g.down * g.across);
        for (int moved = 0; moved < 2 && moved < c->stage[s].depth; moved++) {
            snprintf(name, sizeof name, "swin.%d.%d", s, moved);
            nc_build_capacity(b, name, pictures * window_rows(cut_of(c, g, s, moved)));
        }
    }
}
