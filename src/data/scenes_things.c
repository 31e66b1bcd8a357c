/* scenes_things.c - the eleven things that move. Each is drawn around its foot point with its own motion (steps, wings, wheels, waves); its way
 * is given relative to what the camera sees, so that it is in the picture from the first frame to the last.
 */
#include "data/scenes_draw.h"

enum { boat, gull, car, bus, train, person, bicycle, kite, dog, balloon, cable_car };

#define POLY(c, k, ...) draw_poly((c), (point[]){ __VA_ARGS__ }, (int)(sizeof((point[]){ __VA_ARGS__ }) / sizeof(point)), (k), 1)

/* Where things go: y of the foot for those on ground or water; a share of the view's height for those in the air. */
static double lane_of(int kind, int place, int index)
{
    switch (kind) {
    case boat: return place == 5 ? 73 : 84;
    case gull: return place == 5 ? 0.24 : 0.40 + 0.06 * index;
    case train: return place == 5 ? 44.6 : 60;
    case kite: return 0.26;
    case balloon: return 0.34;
    case cable_car: return 0.40;
    case car: return 88.5;
    case bus: return 93;
    case person: return place == 3 ? 81 : index ? 91 : 87;
    default: return index ? 92 : 89;
    }
}

static bool flies(int kind) { return kind == gull || kind == kite || kind == balloon || kind == cable_car; }

thing scene_thing(stage *s, int kind, int index)
{
    static const int coats[6][3] = { { 230, 48, 44 }, { 34, 98, 220 }, { 250, 198, 40 }, { 240, 244, 248 }, { 32, 160, 96 }, { 240, 116, 36 } };
    const int *k = coats[nc_rng_below(&s->r, 6)];
    thing t = { .kind = kind, .index = index, .leftward = nc_rng_below(&s->r, 2), .lane = lane_of(kind, s->slots.place, index),
                .offset = pick(s, -0.04, 0.04), .coat = color(k[0], k[1], k[2]) };
    return t;
}

/* f turns what faces right to face left; size magnifies. */
struct brush { const stage *s; canvas *c; double x, y, f, phase, size; rgb coat; };

/* Things catch more light than the ground behind them, so that they stand out in the dark. */
static rgb seen(const struct brush *b, rgb k) { return mix(ink(b->s, k, 0, 0), k, 0.3 * b->s->l.lamps + 0.12); }
static rgb tone(const struct brush *b, int r, int g, int bl) { return seen(b, color(r, g, bl)); }
static point at(const struct brush *b, double x, double y) { return (point){ b->x + b->f * b->size * x, b->y + b->size * y }; }
static void box(const struct brush *b, double x0, double y0, double x1, double y1, rgb k)
{
    POLY(b->c, k, at(b, x0, y0), at(b, x1, y0), at(b, x1, y1), at(b, x0, y1));
}
static void ball(const struct brush *b, double x, double y, double rx, double ry, rgb k) { draw_oval(b->c, b->x + b->f * b->size * x, b->y + b->size * y, b->size * rx, b->size * ry, k, 1); }
static void stick(const struct brush *b, double x0, double y0, double x1, double y1, double w, rgb k)
{
    const point p = at(b, x0, y0), q = at(b, x1, y1);
    draw_line(b->c, p.x, p.y, q.x, q.y, b->size * w, k, 1);
}
/* Glass: lit from inside in the dark. */
static rgb glass(const struct brush *b) { return mix(tone(b, 150, 206, 236), color(255, 228, 150), b->s->l.lamps * 0.85); }

static void headlight(const struct brush *b, double x, double y)
{
    if (b->s->l.lamps < 0.3)
        return;
    draw_glow(b->c, b->x + b->f * b->size * (x + 4), b->y + b->size * y, 9 * b->size, color(255, 240, 180), 0.7 * b->s->l.lamps);
    ball(b, x, y, 1.1, 1.1, color(255, 250, 210));
}

static void draw_boat(struct brush *b)
{
    b->y += 0.8 * wave(b->phase * 2.5);
    POLY(b->c, seen(b, b->coat), at(b, -15, -6), at(b, 17, -6), at(b, 11, 2), at(b, -11, 2));
    box(b, -15, -6.4, 17, -4.6, tone(b, 255, 255, 255));
    box(b, -9, -12, 3, -6.4, tone(b, 250, 248, 240));
    for (int i = 0; i < 3; i++)
        box(b, -7.6 + 3.6 * i, -10.6, -5.2 + 3.6 * i, -8.4, mix(tone(b, 70, 110, 150), color(255, 226, 140), b->s->l.lamps));
    stick(b, 5, -6, 5, -26, 1.1, tone(b, 110, 80, 56));
    POLY(b->c, tone(b, 255, 252, 240), at(b, 6, -25), at(b, 6, -9), at(b, 16, -9));
    POLY(b->c, tone(b, 236, 70, 60), at(b, 4.6, -26), at(b, 4.6, -23), at(b, -1, -24.5));
    stick(b, -14, 3, 15, 3, 0.9, tone(b, 236, 248, 255));
    stick(b, -20, 4.4, -12, 4.4, 0.8, tone(b, 226, 244, 252));
}

static void draw_gull(struct brush *b)
{
    const double flap = wave(b->phase * 5);
    const rgb white = tone(b, 255, 255, 255), edge = tone(b, 90, 98, 110);
    POLY(b->c, white, at(b, -1, -1.4), at(b, -8, -5.6 - 5 * flap), at(b, -15, -3 - 8 * flap), at(b, -8, -2 - 4 * flap), at(b, -1, 2));
    POLY(b->c, white, at(b, 1, -1.4), at(b, 8, -6.6 - 5 * flap), at(b, 15, -4 - 8 * flap), at(b, 8, -3 - 4 * flap), at(b, 1, 2));
    stick(b, -11, -3 - 6 * flap, -15, -3 - 8 * flap, 1.5, edge);
    stick(b, 11, -4 - 6 * flap, 15, -4 - 8 * flap, 1.5, edge);
    ball(b, 0, 0.4, 4.6, 2.2, white);
    ball(b, 4.6, -0.8, 2, 1.8, white);
    POLY(b->c, tone(b, 250, 170, 40), at(b, 6.2, -1.4), at(b, 9, -0.4), at(b, 6.2, 0.2));
    POLY(b->c, white, at(b, -4, 0), at(b, -8.4, -1), at(b, -8.4, 1.8));
}

static void wheel(const struct brush *b, double x, double y, double r)
{
    ball(b, x, y, r, r, tone(b, 30, 32, 38));
    ball(b, x, y, r * 0.45, r * 0.45, tone(b, 206, 210, 216));
}

static void draw_car(struct brush *b)
{
    const rgb body = seen(b, b->coat);
    box(b, -15, -9, 15, -2.6, body);
    POLY(b->c, body, at(b, -10, -9), at(b, -6.5, -15), at(b, 5, -15), at(b, 10, -9));
    POLY(b->c, glass(b), at(b, -8, -9.4), at(b, -5.6, -13.8), at(b, -0.6, -13.8), at(b, -0.6, -9.4));
    POLY(b->c, glass(b), at(b, 0.8, -9.4), at(b, 0.8, -13.8), at(b, 4.4, -13.8), at(b, 8, -9.4));
    wheel(b, -8.4, -2.4, 3.2);
    wheel(b, 8.4, -2.4, 3.2);
    box(b, -15, -8, -13.6, -6, tone(b, 200, 30, 30));
    headlight(b, 14.6, -6.6);
}

static void draw_bus(struct brush *b)
{
    const rgb body = tone(b, 30, 140, 84);
    box(b, -24, -22, 24, -3, body);
    box(b, -24, -9, 24, -7, tone(b, 245, 245, 240));
    box(b, -24, -22, 24, -20.4, tone(b, 240, 244, 240));
    for (int i = 0; i < 6; i++)
        box(b, -22 + 7.4 * i, -18.6, -16.6 + 7.4 * i, -11.4, glass(b));
    box(b, 21.4, -19, 24, -9.6, glass(b));
    wheel(b, -14, -3, 3.7);
    wheel(b, 14, -3, 3.7);
    headlight(b, 23.6, -5.6);
}

static void draw_train(struct brush *b)
{
    box(b, -70, 0, 70, 0.9, tone(b, 96, 90, 88));
    for (int i = -1; i <= 1; i++) {
        const double x = i * 30;
        box(b, x - 14.2, -12, x + 14.2, -1, tone(b, 238, 242, 248));
        box(b, x - 14.2, -5, x + 14.2, -2.6, tone(b, 24, 84, 186));
        for (int k = 0; k < 5; k++)
            box(b, x - 12.4 + 5.2 * k, -10.4, x - 9 + 5.2 * k, -6.8, mix(tone(b, 60, 90, 130), color(255, 226, 140), b->s->l.lamps));
        box(b, x - 10, -1, x - 5, 0.4, tone(b, 40, 42, 48));
        box(b, x + 5, -1, x + 10, 0.4, tone(b, 40, 42, 48));
    }
    POLY(b->c, tone(b, 24, 84, 186), at(b, 44.2, -12), at(b, 48, -9), at(b, 51, -3.4), at(b, 50, -1), at(b, 44.2, -1));
    POLY(b->c, glass(b), at(b, 45, -11), at(b, 47.4, -9), at(b, 49, -6.4), at(b, 45, -6.4));
    headlight(b, 50.4, -3.4);
}

static void limbs(const struct brush *b, double hip, double swing, double length, double w, rgb k)
{
    stick(b, 0, hip, swing, hip + length, w, k);
    stick(b, 0, hip, -swing, hip + length, w, k);
}

static void draw_person(struct brush *b)
{
    const double swing = 3.6 * wave(b->phase * 5.5);
    const rgb coat = seen(b, b->coat), skin = tone(b, 246, 206, 172);
    limbs(b, -10, swing, 10, 2.6, tone(b, 44, 52, 84));
    stick(b, -0.6, -19, -swing * 1.1, -11.4, 1.9, skin);
    POLY(b->c, coat, at(b, -3.6, -20.6), at(b, 3.6, -20.6), at(b, 3.2, -9), at(b, -3.2, -9));
    stick(b, 0.6, -19, swing * 1.1, -11.4, 1.9, coat);
    ball(b, 0.4, -23.6, 3.2, 3.4, skin);
    POLY(b->c, tone(b, 36, 28, 26), at(b, -3.2, -23.4), at(b, -2.6, -26.6), at(b, 0.6, -27.6), at(b, 3.4, -25.6), at(b, -0.4, -25), at(b, -1.4, -22.4));
}

static void ring(const struct brush *b, double x, double y, double r, double turn)
{
    const rgb tyre = tone(b, 28, 30, 36);
    for (int i = 0; i < 12; i++)
        stick(b, x + r * wave(i / 12.0 + 0.25), y + r * wave(i / 12.0), x + r * wave((i + 1) / 12.0 + 0.25), y + r * wave((i + 1) / 12.0), 1.2, tyre);
    for (int i = 0; i < 2; i++)
        stick(b, x - r * wave(turn + i / 4.0 + 0.25), y - r * wave(turn + i / 4.0), x + r * wave(turn + i / 4.0 + 0.25), y + r * wave(turn + i / 4.0), 0.5, tone(b, 170, 176, 184));
}

static void draw_bicycle(struct brush *b)
{
    const double pedal = b->phase * 4;
    const rgb frame = tone(b, 236, 60, 48), coat = seen(b, b->coat), skin = tone(b, 246, 206, 172), trousers = tone(b, 40, 46, 76);
    ring(b, -8.4, -5.4, 5.4, pedal);
    ring(b, 8.4, -5.4, 5.4, pedal);
    stick(b, -8.4, -5.4, -2.6, -12, 1.2, frame);
    stick(b, -2.6, -12, 6, -12, 1.2, frame);
    stick(b, 6, -13.6, 8.4, -5.4, 1.2, frame);
    stick(b, -2.6, -12, 0, -5, 1.2, frame);
    stick(b, 0, -5, 6, -12, 1.2, frame);
    for (int i = 0; i < 2; i++) {
        const double px = 2.2 * wave(pedal + i * 0.5 + 0.25), py = -5 + 2.2 * wave(pedal + i * 0.5);
        stick(b, -3, -14, 2.4 + px * 0.4, (-14 + py) / 2 - 0.6, 2, trousers);
        stick(b, 2.4 + px * 0.4, (-14 + py) / 2 - 0.6, px, py, 1.8, trousers);
    }
    POLY(b->c, coat, at(b, -5.4, -13.4), at(b, -0.6, -13.4), at(b, 4, -22), at(b, -0.6, -23));
    stick(b, 2, -20.6, 6.6, -14, 1.6, skin);
    ball(b, 3.6, -25.6, 2.9, 3, skin);
    POLY(b->c, tone(b, 250, 214, 60), at(b, 0.4, -26), at(b, 2, -29), at(b, 5.4, -28.8), at(b, 7, -26.2));
}

static void draw_kite(struct brush *b)
{
    b->y += 2.4 * wave(b->phase * 1.6);
    const double lean = 1.5 * wave(b->phase * 1.6 + 0.2);
    const rgb red = tone(b, 236, 50, 54), blue = tone(b, 40, 92, 220), yellow = tone(b, 252, 208, 56), white = tone(b, 255, 252, 244);
    POLY(b->c, white, at(b, lean, -17), at(b, 12, -4), at(b, -lean, 14), at(b, -12, -4));
    POLY(b->c, red, at(b, lean, -15.4), at(b, 10.4, -4), at(b, 0, -4));
    POLY(b->c, yellow, at(b, lean, -15.4), at(b, -10.4, -4), at(b, 0, -4));
    POLY(b->c, blue, at(b, -10.4, -4), at(b, 0, -4), at(b, -lean, 12));
    POLY(b->c, mix(red, blue, 0.3), at(b, 10.4, -4), at(b, 0, -4), at(b, -lean, 12));
    for (int i = 0; i < 6; i++) {
        const double x0 = -lean + 2.4 * wave(b->phase * 3 + i * 0.17), x1 = -lean + 2.4 * wave(b->phase * 3 + (i + 1) * 0.17);
        stick(b, x0, 14 + 3 * i, x1, 17 + 3 * i, 1, white);
        if (i % 2)
            POLY(b->c, i % 4 == 1 ? red : yellow, at(b, x0 - 3, 12.4 + 3 * i), at(b, x0 + 3, 15.6 + 3 * i), at(b, x0 + 3, 12.4 + 3 * i), at(b, x0 - 3, 15.6 + 3 * i));
    }
}

static void draw_dog(struct brush *b)
{
    const double run = wave(b->phase * 6), hop = run > 0 ? run : -run;
    const rgb fur = tone(b, 214, 148, 78), dark = tone(b, 150, 92, 44), pale = tone(b, 255, 240, 214);
    b->y -= 1.6 * hop;
    for (int i = 0; i < 2; i++) {
        stick(b, -5.4 + i, -5, -6 + i + (i ? -3 : 3) * run, 0, 1.9, i ? fur : dark);
        stick(b, 5 + i, -5, 5 + i + (i ? 3 : -3) * run, 0, 1.9, i ? fur : dark);
    }
    ball(b, 0, -7.4, 8, 4, fur);
    ball(b, 1, -5.6, 6, 2, pale);
    stick(b, -7, -8.6, -11.4, -13 - 1.4 * run, 1.9, fur);
    ball(b, 8.4, -12, 4.2, 3.9, fur);
    ball(b, 11.6, -10.8, 2.3, 1.8, pale);
    ball(b, 13.4, -11.4, 0.9, 0.8, tone(b, 30, 24, 24));
    ball(b, 9.4, -13, 0.8, 0.8, tone(b, 30, 24, 24));
    POLY(b->c, dark, at(b, 5, -14.4), at(b, 3.4, -19), at(b, 8, -15.8));
}

static void draw_balloon(struct brush *b)
{
    b->y += 1.6 * wave(b->phase * 0.8);
    static const int gores[5][3] = { { 232, 52, 52 }, { 250, 190, 40 }, { 44, 116, 220 }, { 250, 190, 40 }, { 232, 52, 52 } };
    for (int i = 0; i < 5; i++) {
        const double w = 13 - 2.9 * i;
        if (i < 3)
            draw_oval(b->c, b->x, b->y - 6, w, 13.5 - 0.3 * i, tone(b, gores[i][0], gores[i][1], gores[i][2]), 1);
        const double low = 11 - 2.8 * i;
        if (i < 3)
            POLY(b->c, tone(b, gores[i][0], gores[i][1], gores[i][2]), at(b, -low, 0), at(b, low, 0), at(b, 2.6 - 0.8 * i, 12), at(b, -2.6 + 0.8 * i, 12));
    }
    stick(b, -2.4, 11, -2, 16, 0.6, tone(b, 80, 60, 44));
    stick(b, 2.4, 11, 2, 16, 0.6, tone(b, 80, 60, 44));
    box(b, -2.8, 15.4, 2.8, 19.6, tone(b, 150, 96, 50));
    if (b->s->l.lamps > 0.3)
        draw_glow(b->c, b->x, b->y + 10, 8, color(255, 196, 90), 0.8 * b->s->l.lamps);
}

static void draw_cable_car(struct brush *b)
{
    const rgb rope = tone(b, 40, 42, 48);
    stick(b, -140, -14 + 6, 140, -14 - 6, 0.9, rope);
    box(b, -0.7, -14.4, 0.7, -6, rope);
    POLY(b->c, tone(b, 250, 176, 30), at(b, -10, -6), at(b, 10, -6), at(b, 11, 8), at(b, -11, 8));
    box(b, -11, 3.4, 11, 5.4, tone(b, 226, 54, 46));
    for (int i = 0; i < 3; i++)
        box(b, -8.6 + 6.1 * i, -4.2, -3.6 + 6.1 * i, 2, glass(b));
}

/* What is small comes nearer, so that a frame of 96 pixels shows what it is. */
static double nearness(int kind)
{
    switch (kind) {
    case gull: case person: case dog: return 1.35;
    case car: case bicycle: return 1.25;
    case boat: return 1.15;
    default: return 1;
    }
}

void scene_draw_thing(const stage *s, canvas *c, const thing *t, double phase, view v)
{
    static void (*const paint[nc_scene_things])(struct brush *) = { draw_boat, draw_gull, draw_car, draw_bus, draw_train, draw_person, draw_bicycle,
                                                                   draw_kite, draw_dog, draw_balloon, draw_cable_car };
    /* Slow things cross a part of the picture only. */
    const double reach = t->kind == balloon || t->kind == kite ? 0.16 : t->kind == boat || t->kind == person ? 0.26 : t->kind == train ? 0.3 : 0.34;
    const double side = t->kind == kite || t->kind == balloon ? (t->index ? 0.14 : -0.14) : 0;
    const double along = 0.5 + side + t->offset + (t->leftward ? -1 : 1) * reach * (2 * phase - 1);
    struct brush b = { s, c, v.x + along * v.size, flies(t->kind) ? v.y + t->lane * v.size : t->lane, t->leftward ? -1 : 1, phase * 2, nearness(t->kind), t->coat };
    if (t->kind == cable_car)
        b.y -= b.f * (along - 0.5) * v.size * 0.043 * b.f * (t->leftward ? -1 : 1);
    paint[t->kind](&b);
}
