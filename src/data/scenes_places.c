/* scenes_places.c - the eight places, each a painting of the whole world with its mark in the middle (the camera nears it) and other things to
 * both sides, so that a camera moving sideways shows something new.
 */
#include "data/scenes_draw.h"

#define POLY(c, k, ...) draw_poly((c), (point[]){ __VA_ARGS__ }, (int)(sizeof((point[]){ __VA_ARGS__ }) / sizeof(point)), (k), 1)

/* A ridge over the whole width: heights at equal steps, filled down to the given y. */
static void ridge(stage *s, double base, double height, double bottom, int steps, rgb k)
{
    double last = base - pick(s, 0.2, 1) * height;
    for (int i = 0; i < steps; i++) {
        const double next = base - pick(s, 0.1, 1) * height, x0 = (double)i * world_width / steps, x1 = (double)(i + 1) * world_width / steps;
        const double middle = (last + next) / 2 - pick(s, -0.12, 0.12) * height;
        POLY(&s->c, k, { x0, bottom }, { x0, last }, { (x0 + x1) / 2, middle }, { x1, next }, { x1, bottom });
        last = next;
    }
}

static void lamp(stage *s, double x, double y, double size)
{
    if (s->l.lamps < 0.3)
        return;
    draw_glow(&s->c, x, y, size * 3.2, color(255, 214, 120), 0.7 * s->l.lamps);
    draw_oval(&s->c, x, y, size, size, color(255, 240, 180), s->l.lamps);
}

/* A window: dark by day, lit in the dark. */
static void window(stage *s, double x, double y, double w, double h, bool lit, double depth)
{
    const rgb day = ink(s, color(92, 116, 140), depth, 0);
    draw_rect(&s->c, x, y, x + w, y + h, lit ? mix(day, color(255, 222, 128), s->l.lamps) : day);
}

static void pine(stage *s, double x, double y, double h, double depth)
{
    draw_rect(&s->c, x - h * 0.04, y - h * 0.2, x + h * 0.04, y, ink(s, color(96, 66, 44), depth, 0));
    for (int i = 0; i < 3; i++) {
        const double top = y - h + i * h * 0.24, w = h * (0.17 + 0.09 * i);
        POLY(&s->c, ink(s, color(34 + 6 * i, 92 + 8 * i, 56), depth, 0.15), { x, top }, { x + w, top + h * 0.36 }, { x - w, top + h * 0.36 });
        POLY(&s->c, ink(s, color(50, 112, 66), depth, 1), { x, top }, { x + w * 0.5, top + h * 0.17 }, { x - w * 0.5, top + h * 0.17 });
    }
}

static void round_tree(stage *s, double x, double y, double h, double depth)
{
    canvas *c = &s->c;
    draw_rect(c, x - h * 0.05, y - h * 0.45, x + h * 0.05, y, ink(s, color(110, 76, 48), depth, 0));
    const rgb leaf = ink(s, color(66, 148, 70), depth, 0.3), bright = ink(s, color(116, 188, 92), depth, 0.95);
    draw_oval(c, x, y - h * 0.62, h * 0.34, h * 0.34, leaf, 1);
    draw_oval(c, x - h * 0.22, y - h * 0.5, h * 0.22, h * 0.2, leaf, 1);
    draw_oval(c, x + h * 0.22, y - h * 0.5, h * 0.22, h * 0.2, leaf, 1);
    draw_oval(c, x - h * 0.08, y - h * 0.76, h * 0.2, h * 0.14, bright, 1);
}

static void shimmer(stage *s, double y0, double y1, int count, double alpha)
{
    for (int i = 0; i < count; i++) {
        const double y = pick(s, y0 + 1, y1), near = (y - y0) / (y1 - y0), x = pick(s, 0, world_width), w = 2 + 6 * near;
        draw_rect(&s->c, x, y, x + w * pick(s, 0.6, 1.4), y + 0.5 + 0.5 * near, mix(ink(s, color(120, 190, 220), 1 - near, 0), s->l.bottom, alpha));
    }
}

static void sea(stage *s)
{
    canvas *c = &s->c;
    ridge(s, 47, 7, 50, 9, ink(s, color(96, 138, 128), 0.9, 0.6));
    draw_fall(c, 0, 46, world_width, 100, mix(ink(s, color(96, 178, 210), 0.6, 0), s->l.bottom, 0.3), ink(s, color(14, 88, 150), 0, 0));
    shimmer(s, 47, 99, 130, 0.45);
    for (int i = 0; i < 26; i++) {
        const double y = pick(s, 56, 98), near = (y - 46) / 54, x = pick(s, 0, world_width);
        draw_rect(c, x, y, x + 4 + 9 * near, y + 0.6 + 0.5 * near, ink(s, color(232, 246, 252), 0.3 * (1 - near), 0));
    }
    const double x = 90 + pick(s, -4, 4);
    POLY(c, ink(s, color(92, 84, 80), 0.1, 0.7), { x - 19, 64 }, { x - 12, 56 }, { x - 3, 53 }, { x + 8, 54 }, { x + 15, 58 }, { x + 21, 64 });
    for (int i = 0; i < 5; i++) {
        const double y0 = 24 + 6 * i, w0 = 3.4 + 0.45 * i, w1 = w0 + 0.45;
        POLY(c, ink(s, i % 2 ? color(250, 250, 246) : color(222, 52, 48), 0.05, 0), { x - w0, y0 }, { x + w0, y0 }, { x + w1, y0 + 6 }, { x - w1, y0 + 6 });
    }
    draw_rect(c, x - 2.4, 19, x + 2.4, 24, mix(ink(s, color(250, 240, 190), 0, 0), color(255, 246, 170), s->l.lamps));
    POLY(c, ink(s, color(200, 40, 40), 0, 0.5), { x, 14.5 }, { x + 3.6, 19 }, { x - 3.6, 19 });
    lamp(s, x, 21.5, 2.6);
    POLY(c, ink(s, color(84, 80, 78), 0.2, 0.7), { 12, 60 }, { 18, 54 }, { 26, 57 }, { 31, 60 });
    POLY(c, ink(s, color(84, 80, 78), 0.2, 0.7), { 142, 62 }, { 150, 53 }, { 158, 55 }, { 168, 62 });
    pine(s, 151, 54, 9, 0.2);
}

static void mountain(stage *s)
{
    canvas *c = &s->c;
    const double x = 90 + pick(s, -5, 5);
    ridge(s, 48, 20, 62, 7, ink(s, color(112, 146, 176), 0.9, 0.6));
    POLY(c, ink(s, color(92, 124, 104), 0.45, 0.5), { x - 58, 72 }, { x - 30, 44 }, { x - 22, 46 }, { x, 12 }, { x + 12, 28 }, { x + 20, 26 }, { x + 56, 72 });
    POLY(c, ink(s, color(66, 96, 84), 0.4, 0.25), { x, 12 }, { x + 12, 28 }, { x + 20, 26 }, { x + 56, 72 }, { x + 14, 72 }, { x + 4, 44 });
    POLY(c, ink(s, color(212, 214, 208), 0.35, 1), { x - 9, 26 }, { x, 12 }, { x + 8.5, 24 }, { x + 4, 27 }, { x, 23 }, { x - 4, 29 });
    POLY(c, ink(s, color(76, 128, 84), 0.3, 0.5), { 0, 84 }, { 0, 50 }, { 18, 40 }, { 40, 60 }, { 66, 84 });
    POLY(c, ink(s, color(70, 118, 80), 0.3, 0.5), { 118, 84 }, { 146, 52 }, { 162, 38 }, { 180, 52 }, { 180, 84 });
    ridge(s, 74, 10, 100, 10, ink(s, color(78, 146, 72), 0.15, 0.9));
    draw_fall(c, 0, 78, world_width, 100, ink(s, color(104, 172, 80), 0.08, 1), ink(s, color(70, 132, 60), 0, 1));
    for (int i = 0; i < 22; i++) {
        const double at = (i + pick(s, 0.1, 0.9)) * world_width / 22, y = pick(s, 66, 78);
        pine(s, at, y, pick(s, 10, 17), 0.2);
    }
    POLY(c, ink(s, color(206, 184, 140), 0, 0.9), { x - 40, 100 }, { x - 6, 84 }, { x + 2, 78 }, { x + 6, 78 }, { x + 4, 86 }, { x - 22, 100 });
}

static void scarecrow(stage *s, double x, double y)
{
    canvas *c = &s->c;
    draw_rect(c, x - 0.9, y - 20, x + 0.9, y, ink(s, color(120, 84, 48), 0, 0));
    draw_rect(c, x - 8, y - 15, x + 8, y - 13.2, ink(s, color(120, 84, 48), 0, 0));
    POLY(c, ink(s, color(204, 72, 60), 0, 0.2), { x - 6, y - 15.5 }, { x + 6, y - 15.5 }, { x + 4.6, y - 6 }, { x - 4.6, y - 6 });
    draw_oval(c, x, y - 19, 3, 3.2, ink(s, color(238, 206, 150), 0, 0), 1);
    POLY(c, ink(s, color(214, 172, 70), 0, 0.8), { x - 6, y - 20.5 }, { x, y - 26 }, { x + 6, y - 20.5 });
}

static void paddies(stage *s)
{
    canvas *c = &s->c;
    static const int tones[3][3] = { { 140, 200, 74 }, { 110, 184, 78 }, { 178, 206, 84 } };
    ridge(s, 40, 12, 46, 8, ink(s, color(90, 136, 112), 0.75, 0.6));
    draw_rect(c, 0, 40, world_width, 100, ink(s, color(126, 96, 62), 0.2, 0.6));
    for (int row = 0; row < 5; row++) {
        const double y0 = 40.5 + row * row * 1.9 + row * 4.2, y1 = 40.5 + (row + 1) * (row + 1) * 1.9 + (row + 1) * 4.2 - 1.4 - 0.3 * row;
        const double depth = 0.5 - 0.12 * row;
        for (int i = -8; i < 9; i++) {
            const double k0 = 0.55 + 0.16 * row, k1 = k0 + 0.16, cell = 21, shift = pick(s, -0.5, 0.5);
            const int *t = tones[nc_rng_below(&s->r, 3)];
            const double x0 = 90 + (i * cell + shift) * k0, x1 = 90 + ((i + 1) * cell - 2) * k0, x2 = 90 + ((i + 1) * cell - 2) * k1, x3 = 90 + (i * cell + shift) * k1;
            const bool water = nc_rng_below(&s->r, 4) == 0;
            const rgb k = water ? mix(ink(s, color(120, 176, 200), depth, 0.2), s->l.bottom, 0.55) : ink(s, color(t[0], t[1], t[2]), depth, 0.85);
            POLY(c, k, { x0, y0 }, { x1, y0 }, { x2, y1 }, { x3, y1 });
            if (!water)
                for (int j = 1; j < 4; j++)
                    draw_line(c, x0 + (x1 - x0) * j / 4, y0, x3 + (x2 - x3) * j / 4, y1, 0.5 + 0.1 * row, ink(s, color(t[0] - 44, t[1] - 44, 44), depth, 0.7), 0.8);
        }
    }
    for (int i = 0; i < 3; i++) {
        const double x = 16 + 62 * i + pick(s, -5, 5), w = 9;
        draw_rect(c, x - w, 35, x + w, 42, ink(s, color(236, 224, 200), 0.35, 0));
        POLY(c, ink(s, i == 1 ? color(64, 96, 168) : color(206, 98, 62), 0.35, 0.95), { x - w - 2, 35.5 }, { x - w + 3, 29 }, { x + w - 3, 29 }, { x + w + 2, 35.5 });
        window(s, x - 5, 37, 3, 3, true, 0.3);
        window(s, x + 2, 37, 3, 3, true, 0.3);
    }
    scarecrow(s, 90 + pick(s, -4, 4), 70);
}

static void tower_block(stage *s, double x, double top, double w, double bottom, double depth, rgb wall)
{
    canvas *c = &s->c;
    draw_rect(c, x, top, x + w, bottom, ink(s, wall, depth, 0.05));
    draw_rect(c, x, top, x + w, top + 1.5, ink(s, color(210, 214, 220), depth, 1));
    for (double y = top + 3.5; y < bottom - 4; y += 4.2)
        for (double at = x + 1.5; at < x + w - 2; at += 3.6)
            window(s, at, y, 2.1, 2.4, nc_rng_below(&s->r, 4) != 0, depth);
}

static void city(stage *s)
{
    canvas *c = &s->c;
    const double x = 90 + pick(s, -5, 5);
    POLY(c, ink(s, color(86, 120, 98), 0.65, 0.6), { x - 46, 74 }, { x - 16, 46 }, { x + 14, 44 }, { x + 44, 74 });
    draw_rect(c, x - 1.6, 18, x + 1.6, 48, ink(s, color(214, 218, 226), 0.3, 0));
    draw_oval(c, x, 27, 5.4, 3.6, ink(s, color(190, 200, 214), 0.3, 0.3), 1);
    draw_rect(c, x - 5, 26, x + 5, 27.6, mix(ink(s, color(70, 110, 160), 0.3, 0), color(120, 220, 255), s->l.lamps));
    draw_rect(c, x - 0.5, 6, x + 0.5, 18, ink(s, color(226, 70, 60), 0.3, 0));
    lamp(s, x, 6, 1);
    for (int i = 0; i < 13; i++) {
        const double at = i * 14.5 - 2 + pick(s, -2, 2), top = pick(s, 34, 56);
        if (at + 12 < x - 7 || at > x + 7)
            tower_block(s, at, top, pick(s, 10, 13), 78, 0.5, color(136, 150, 172));
    }
    for (int i = 0; i < 9; i++) {
        static const int walls[4][3] = { { 178, 108, 88 }, { 196, 190, 176 }, { 110, 132, 166 }, { 150, 158, 150 } };
        const double at = i * 21 + pick(s, -3, 3), w = pick(s, 12, 16);
        const int *k = walls[nc_rng_below(&s->r, 4)];
        if (at + w < x - 9 || at > x + 9)
            tower_block(s, at, pick(s, 40, 62), w, 80, 0.15, color(k[0], k[1], k[2]));
    }
    draw_rect(c, 0, 76, world_width, 81, ink(s, color(190, 186, 178), 0.05, 0.9));
    draw_rect(c, 0, 81, world_width, 100, ink(s, color(78, 80, 88), 0, 0.45));
    for (int i = 0; i < 15; i++)
        draw_rect(c, i * 12 + 2, 89.6, i * 12 + 9, 90.9, ink(s, color(250, 214, 92), 0, 0));
    for (int i = 0; i < 6; i++) {
        draw_rect(c, 14 + 30 * i, 62, 14.9 + 30 * i, 79, ink(s, color(70, 76, 84), 0, 0));
        draw_rect(c, 14 + 30 * i, 62, 18 + 30 * i, 62.9, ink(s, color(70, 76, 84), 0, 0));
        lamp(s, 18 + 30 * i, 63.5, 1.5);
    }
}

/* A tiled roof with lifted eaves: x centre, y of the eaves, half width. */
static void tile_roof(stage *s, double x, double y, double w, double h)
{
    canvas *c = &s->c;
    const rgb tile = ink(s, color(70, 76, 88), 0.02, 0.85), line = ink(s, color(44, 48, 58), 0, 0.5), ridge_color = ink(s, color(120, 126, 136), 0, 0.9);
    POLY(c, tile, { x - w - 5, y - 3.2 }, { x - w + 2, y - 4.2 }, { x - w * 0.72, y - h }, { x + w * 0.72, y - h }, { x + w - 2, y - 4.2 }, { x + w + 5, y - 3.2 },
         { x + w + 2, y - 0.4 }, { x + w * 0.5, y + 1.6 }, { x - w * 0.5, y + 1.6 }, { x - w - 2, y - 0.4 });
    for (int i = -6; i <= 6; i++)
        draw_line(c, x + i * w * 0.115, y - h, x + i * w * 0.155, y + 0.8, 0.8, line, 0.9);
    draw_rect(c, x - w * 0.78, y - h - 1.6, x + w * 0.78, y - h + 0.4, ridge_color);
}

static void hanok(stage *s, double x, double w)
{
    canvas *c = &s->c;
    const rgb wood = ink(s, color(128, 74, 40), 0, 0), paper = mix(ink(s, color(248, 240, 216), 0, 0), color(255, 212, 120), 0.75 * s->l.lamps);
    draw_rect(c, x - w, 46, x + w, 68, ink(s, color(240, 232, 214), 0.02, 0));
    for (int i = 0; i < 4; i++) {
        const double at = x - w + 2 + i * (2 * w - 4) / 4, span = (2 * w - 4) / 4 - 1.6;
        draw_rect(c, at, 50, at + span, 66, paper);
        for (int k = 1; k < 3; k++)
            draw_rect(c, at + span * k / 3 - 0.25, 50, at + span * k / 3 + 0.25, 66, wood);
        draw_rect(c, at, 57.6, at + span, 58.3, wood);
    }
    for (int i = 0; i <= 4; i++) {
        const double at = x - w + i * (2 * w - 1.6) / 4;
        draw_rect(c, at, 46, at + 1.6, 68, wood);
    }
    draw_rect(c, x - w, 46, x + w, 47.6, wood);
    tile_roof(s, x, 46, w + 3, 15);
}

static void stone_wall(stage *s, double x0, double x1, double y0, double y1)
{
    canvas *c = &s->c;
    draw_rect(c, x0, y0, x1, y1, ink(s, color(214, 200, 172), 0, 0.15));
    for (int row = 0; row < 3; row++)
        for (double x = x0 + (row % 2) * 2.5; x < x1 - 3; x += 5.6)
            draw_oval(c, x + 2.6, y0 + 1.9 + row * (y1 - y0) / 3, 2.2, 1.5, ink(s, row % 2 ? color(150, 138, 122) : color(172, 158, 138), 0, 0.2), 1);
    draw_rect(c, x0, y0 - 2.6, x1, y0, ink(s, color(72, 78, 90), 0, 0.9));
    draw_rect(c, x0, y0 - 0.5, x1, y0 + 0.4, ink(s, color(40, 44, 52), 0, 0));
}

static void alley(stage *s)
{
    canvas *c = &s->c;
    ridge(s, 42, 14, 52, 7, ink(s, color(104, 140, 122), 0.7, 0.6));
    hanok(s, 28, 21);
    hanok(s, 152, 21);
    for (int i = 0; i < 3; i++)
        round_tree(s, 60 + 60 * i - 30 * (i == 1) + 14 * (i == 1), 62, 26, 0.15);
    hanok(s, 90 + pick(s, -2, 2), 19);
    draw_rect(c, 0, 74, world_width, 100, ink(s, color(196, 182, 158), 0, 0.95));
    for (int i = 0; i < 60; i++) {
        const double x = pick(s, 0, world_width), y = pick(s, 78, 98);
        draw_oval(c, x, y, pick(s, 2, 4), pick(s, 0.7, 1.3), ink(s, color(172, 158, 136), 0, 0.85), 1);
    }
    stone_wall(s, 0, 80, 63, 76);
    stone_wall(s, 100, 180, 63, 76);
    draw_rect(c, 79, 56, 82, 77, ink(s, color(140, 60, 40), 0, 0));
    draw_rect(c, 98, 56, 101, 77, ink(s, color(140, 60, 40), 0, 0));
    draw_rect(c, 82, 60, 98, 76, ink(s, color(168, 58, 44), 0, 0));
    draw_rect(c, 89.6, 60, 90.4, 76, ink(s, color(90, 30, 24), 0, 0));
    draw_oval(c, 88, 68, 0.9, 0.9, ink(s, color(236, 196, 92), 0, 0), 1);
    draw_oval(c, 92, 68, 0.9, 0.9, ink(s, color(236, 196, 92), 0, 0), 1);
    tile_roof(s, 90, 57, 14, 8);
    for (int i = 0; i < 2; i++) {
        const double x = 77 + 26 * i;
        draw_oval(c, x, 62, 1.8, 2.4, mix(ink(s, color(226, 70, 52), 0, 0), color(255, 120, 80), s->l.lamps), 1);
        lamp(s, x, 62, 1.6);
    }
}

static void riverside(stage *s)
{
    canvas *c = &s->c;
    ridge(s, 42, 12, 50, 8, ink(s, color(104, 142, 128), 0.8, 0.6));
    for (int i = 0; i < 16; i++)
        tower_block(s, i * 11.4 + pick(s, -1, 1), pick(s, 28, 38), 8.4, 49, 0.5, i % 3 ? color(226, 222, 212) : color(196, 206, 216));
    draw_rect(c, 0, 48, world_width, 51, ink(s, color(96, 150, 84), 0.4, 0.9));
    draw_fall(c, 0, 50, world_width, 78, mix(ink(s, color(120, 176, 206), 0.5, 0), s->l.bottom, 0.35), ink(s, color(38, 110, 160), 0.1, 0));
    shimmer(s, 50, 77, 80, 0.5);
    draw_rect(c, 0, 44, world_width, 48, ink(s, color(206, 212, 220), 0.15, 0.7));
    draw_rect(c, 0, 47, world_width, 48.2, ink(s, color(120, 128, 140), 0.15, 0));
    for (int i = 0; i < 6; i++) {
        const double x = i * 36;
        draw_rect(c, x - 1.8, 48, x + 1.8, 60, ink(s, color(150, 156, 166), 0.15, 0));
        for (int k = 0; k < 12; k++)
            draw_line(c, x + 3 * k, 44 - 12 * wave(k / 24.0), x + 3 * k + 3, 44 - 12 * wave((k + 1) / 24.0), 1.5, ink(s, color(232, 92, 60), 0.12, 0.4), 1);
        for (int k = 2; k < 12; k += 2)
            draw_rect(c, x + 3 * k - 0.3, 44 - 12 * wave(k / 24.0), x + 3 * k + 0.3, 44, ink(s, color(232, 92, 60), 0.12, 0));
        lamp(s, x + 18, 43, 1.1);
    }
    draw_fall(c, 0, 76, world_width, 100, ink(s, color(130, 190, 92), 0.02, 1), ink(s, color(84, 150, 66), 0, 1));
    draw_rect(c, 0, 84, world_width, 93, ink(s, color(206, 96, 74), 0, 0.8));
    draw_rect(c, 0, 88.2, world_width, 88.9, ink(s, color(250, 246, 236), 0, 0.8));
    for (int i = 0; i < 46; i++) {
        const double x = pick(s, 0, world_width), h = pick(s, 4, 8);
        draw_line(c, x, 80, x + pick(s, -1.5, 2.5), 80 - h, 0.7, ink(s, color(206, 184, 122), 0, 0.6), 1);
    }
}

static void park(stage *s)
{
    canvas *c = &s->c;
    const double x = 90 + pick(s, -4, 4);
    for (int i = 0; i < 17; i++)
        round_tree(s, i * 11 + pick(s, -2, 2), 58, pick(s, 20, 30), 0.45);
    draw_fall(c, 0, 55, world_width, 100, ink(s, color(150, 212, 98), 0.2, 1), ink(s, color(92, 172, 70), 0, 1));
    POLY(c, ink(s, color(236, 216, 172), 0.05, 0.75), { 0, 92 }, { 50, 84 }, { 90, 82 }, { 130, 84 }, { 180, 92 }, { 180, 100 }, { 130, 91 }, { 90, 88.5 }, { 50, 91 }, { 0, 100 });
    draw_oval(c, x, 70, 20, 6.4, ink(s, color(186, 190, 196), 0.05, 0.6), 1);
    draw_oval(c, x, 69.4, 18, 5, mix(ink(s, color(96, 180, 224), 0.1, 0), s->l.bottom, 0.2), 1);
    draw_rect(c, x - 1.6, 56, x + 1.6, 69, ink(s, color(196, 200, 206), 0, 0.3));
    draw_oval(c, x, 57, 6.5, 1.8, ink(s, color(206, 210, 216), 0, 0.5), 1);
    for (int i = -3; i <= 3; i++) {
        draw_line(c, x, 52, x + i * 2.2, 46 + (i * i) * 0.5, 0.9, ink(s, color(226, 246, 255), 0, 0), 0.9);
        draw_line(c, x + i * 2.2, 46 + (i * i) * 0.5, x + i * 4.2, 66, 0.9, ink(s, color(226, 246, 255), 0, 0), 0.8);
    }
    round_tree(s, 20 + pick(s, -4, 4), 80, 42, 0.02);
    round_tree(s, 162 + pick(s, -4, 4), 80, 42, 0.02);
    for (int i = 0; i < 3; i++) {
        const double at = 46 + 40 * i + 12 * (i == 2);
        if (i != 1) {
            draw_rect(c, at, 74, at + 13, 75.6, ink(s, color(166, 104, 56), 0, 0.9));
            draw_rect(c, at, 70, at + 13, 72, ink(s, color(166, 104, 56), 0, 0.6));
            draw_rect(c, at + 1, 72, at + 2.2, 79, ink(s, color(70, 60, 56), 0, 0));
            draw_rect(c, at + 10.8, 72, at + 12, 79, ink(s, color(70, 60, 56), 0, 0));
        }
        draw_rect(c, 36 + 54 * i, 56, 37 + 54 * i, 78, ink(s, color(56, 62, 70), 0, 0));
        draw_oval(c, 36.5 + 54 * i, 55.5, 2, 2, ink(s, color(240, 240, 230), 0, 0), 1);
        lamp(s, 36.5 + 54 * i, 55.5, 2.2);
    }
    for (int i = 0; i < 44; i++) {
        static const int petals[4][3] = { { 246, 96, 128 }, { 250, 214, 80 }, { 252, 250, 246 }, { 188, 112, 220 } };
        const int *k = petals[nc_rng_below(&s->r, 4)];
        draw_oval(c, pick(s, 0, world_width), pick(s, 93, 99), 1, 1, ink(s, color(k[0], k[1], k[2]), 0, 0.5), 1);
    }
}

static void stall(stage *s, double x, double w, int kind)
{
    canvas *c = &s->c;
    static const int awnings[4][3] = { { 226, 56, 52 }, { 36, 108, 206 }, { 34, 156, 92 }, { 240, 150, 32 } };
    const int *a = awnings[kind % 4];
    draw_rect(c, x, 42, x + w, 76, mix(ink(s, color(122, 92, 70), 0.05, 0), color(255, 206, 130), 0.55 * s->l.lamps));
    draw_rect(c, x + 3, 31, x + w - 3, 39, ink(s, color(250, 244, 226), 0, 0.1));
    for (int i = 0; i < 3; i++)
        draw_rect(c, x + w / 2 - 8 + 6 * i, 33, x + w / 2 - 4 + 6 * i, 37, ink(s, color(40, 44, 60), 0, 0));
    const int stripes = 8;
    for (int i = 0; i < stripes; i++) {
        const double u = w / stripes, x0 = x + i * u;
        const rgb k = ink(s, i % 2 ? color(250, 248, 242) : color(a[0], a[1], a[2]), 0, 0.55);
        POLY(c, k, { x0 + 0.6 * (stripes / 2 - i), 40 }, { x0 + u + 0.6 * (stripes / 2 - i - 1), 40 }, { x0 + u, 52 }, { x0, 52 });
        draw_oval(c, x0 + u / 2, 52, u / 2, 2, k, 1);
    }
    draw_rect(c, x + 1, 66, x + w - 1, 78, ink(s, color(166, 120, 74), 0, 0));
    for (int row = 0; row < 2; row++)
        for (double at = x + 3.4; at < x + w - 3; at += 3.5) {
            static const int fruit[5][3] = { { 232, 52, 44 }, { 250, 160, 36 }, { 246, 220, 70 }, { 96, 180, 66 }, { 150, 70, 160 } };
            const int *k = fruit[((int)((at - x) / 9) + kind + row) % 5];
            draw_oval(c, at, 65.6 - row * 2.6, 1.9, 1.8, ink(s, color(k[0], k[1], k[2]), 0, 0), 1);
        }
}

static void market(stage *s)
{
    canvas *c = &s->c;
    for (int i = 0; i < 9; i++) {
        const double x = i * 20.5 - 3;
        draw_rect(c, x, pick(s, 20, 28), x + 19, 70, ink(s, i % 2 ? color(176, 152, 132) : color(156, 140, 146), 0.25, 0.1));
        for (int k = 0; k < 2; k++)
            window(s, x + 3 + 8 * k, 31, 5, 6, true, 0.2);
    }
    draw_rect(c, 0, 74, world_width, 100, ink(s, color(158, 152, 146), 0, 0.85));
    for (int i = 0; i < 12; i++)
        draw_rect(c, i * 16, 74, i * 16 + 0.7, 100, ink(s, color(132, 126, 122), 0, 0.6));
    draw_rect(c, 0, 86, world_width, 86.7, ink(s, color(132, 126, 122), 0, 0.6));
    for (int i = 0; i < 5; i++)
        stall(s, 2 + i * 36, 31, i + (int)nc_rng_below(&s->r, 2) * 2);
    for (int i = 0; i < 9; i++) {
        const double x0 = i * 20, x1 = x0 + 20;
        draw_line(c, x0, 20, (x0 + x1) / 2, 24, 0.6, ink(s, color(50, 44, 44), 0, 0), 1);
        draw_line(c, (x0 + x1) / 2, 24, x1, 20, 0.6, ink(s, color(50, 44, 44), 0, 0), 1);
        const rgb paper = i % 2 ? color(250, 206, 72) : color(232, 64, 56);
        draw_oval(c, (x0 + x1) / 2, 27, 3, 3.2, mix(ink(s, paper, 0, 0.2), paper, s->l.lamps), 1);
        lamp(s, (x0 + x1) / 2, 27, 1.3);
    }
}

void scene_place(stage *s)
{
    static void (*const paint[nc_scene_places])(stage *) = { sea, mountain, paddies, city, alley, riverside, park, market };
    paint[s->slots.place](s);
}
