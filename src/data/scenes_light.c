/* scenes_light.c - what time and weather do: sky, tint, haze, snow, lamps; sun, moon, stars and clouds; rain, flakes and fog before the lens.
 *
 * Each time keeps a hue of its own under every weather (dawn blue, morning cream, noon white and bright, evening violet, night navy) and a
 * mark in the sky, so that it can be told apart in rain as in sunshine.
 */
#include "data/scenes_draw.h"

enum { dawn, morning, noon, evening, night };
enum { clear, rain, snow, fog, glow };

void scene_light(int time, int weather, light *l)
{
    static const struct { int top[3], bottom[3]; double tint[3]; int grey_top[3], grey_bottom[3]; double lamps; } hours[] = {
        { { 22, 44, 104 }, { 128, 172, 214 }, { 0.48, 0.60, 0.92 }, { 48, 68, 118 }, { 92, 120, 168 }, 0.15 },
        { { 140, 196, 236 }, { 255, 232, 176 }, { 1.06, 0.98, 0.80 }, { 186, 176, 148 }, { 226, 212, 172 }, 0 },
        { { 36, 120, 228 }, { 164, 214, 252 }, { 1.0, 1.0, 1.0 }, { 150, 160, 172 }, { 200, 208, 214 }, 0 },
        { { 58, 36, 112 }, { 214, 124, 164 }, { 0.72, 0.52, 0.74 }, { 76, 56, 104 }, { 140, 104, 146 }, 0.8 },
        { { 5, 8, 30 }, { 24, 34, 76 }, { 0.30, 0.35, 0.58 }, { 10, 12, 28 }, { 28, 32, 56 }, 1 },
    };
    const int *top = weather == clear ? hours[time].top : hours[time].grey_top, *bottom = weather == clear ? hours[time].bottom : hours[time].grey_bottom;

    *l = (light){ .top = color(top[0], top[1], top[2]), .bottom = color(bottom[0], bottom[1], bottom[2]),
                  .tint = { hours[time].tint[0], hours[time].tint[1], hours[time].tint[2] }, .lamps = hours[time].lamps, .near = 0, .far = 0.35 };
    if (weather == glow) {
        l->top = color(112, 48, 104);
        l->bottom = color(255, 176, 60);
        l->tint = (rgb){ 0.86, 0.50, 0.36 };
        l->lamps = 0.4;
    }
    l->haze = l->bottom;
    if (weather == rain) {
        l->tint = (rgb){ l->tint.r * 0.72, l->tint.g * 0.76, l->tint.b * 0.84 };
        l->near = 0.04;
        l->far = 0.55;
    } else if (weather == snow) {
        l->snow = 0.82;
        l->top = mix(l->top, l->bottom, 0.5);
        l->far = 0.5;
    } else if (weather == fog) {
        l->near = 0.42;
        l->far = 0.97;
        l->top = mix(l->top, l->bottom, 0.85);
        l->haze = l->bottom;
    }
}

static void cloud(stage *s, double x, double y, double size, rgb c, double alpha)
{
    for (int i = 0; i < 6; i++)
        draw_oval(&s->c, x + (i - 2.5) * size * 0.42 + pick(s, -1, 1), y - (i % 2) * size * 0.25 + pick(s, -1, 1), size * pick(s, 0.4, 0.62), size * pick(s, 0.24, 0.36), c, alpha);
}

static void clouds(stage *s, rgb c, double alpha, int count, double low, double high)
{
    for (int i = 0; i < count; i++)
        cloud(s, (i + pick(s, 0.2, 0.8)) * world_width / count, pick(s, low, high), pick(s, 9, 14), c, alpha);
}

static void stars(stage *s, int count, double strength)
{
    for (int i = 0; i < count; i++) {
        double x = pick(s, 0, world_width), y = pick(s, 1, 38), r = pick(s, 0.35, 0.75);
        draw_oval(&s->c, x, y, r, r, color(255, 252, 224), strength * pick(s, 0.5, 1));
    }
}

/* Sun, moon and stars; veiled (weak and soft) unless the sky is open. */
static void celestial(stage *s, double open)
{
    canvas *c = &s->c;
    const double x = 90 + pick(s, -6, 6);

    switch (s->slots.time) {
    case dawn:
        draw_fall(c, 0, 34, world_width, 50, s->l.bottom, mix(s->l.bottom, color(255, 196, 170), 0.55 * open));
        draw_oval(c, x + 16, 15, 6, 6, color(255, 248, 214), 0.35 + 0.65 * open);
        draw_oval(c, x + 13, 13.4, 5.4, 5.4, mix(s->l.top, s->l.bottom, 0.3), 0.98);
        if (open > 0.5)
            stars(s, 9, 0.8);
        break;
    case morning:
        draw_glow(c, x - 22, 30, 40, color(255, 244, 190), 0.45 + 0.5 * open);
        draw_oval(c, x - 22, 30, 7.5, 7.5, color(255, 240, 130), 0.35 + 0.65 * open);
        break;
    case noon:
        if (open > 0.5) {
            draw_glow(c, x, 11, 24, color(255, 255, 236), 0.9);
            draw_oval(c, x, 11, 6.5, 6.5, color(255, 252, 210), 1);
            clouds(s, color(255, 255, 255), 0.92, 5, 18, 30);
        }
        break;
    case evening:
        if (s->slots.weather == glow)
            break;
        draw_fall(c, 0, 30, world_width, 50, s->l.bottom, mix(s->l.bottom, color(255, 168, 150), 0.5 * open));
        if (open > 0.5) {
            clouds(s, color(120, 70, 140), 0.75, 4, 16, 30);
            stars(s, 5, 0.9);
        }
        break;
    default:
        draw_glow(c, x - 8, 14, 18, color(190, 200, 235), 0.25 + 0.3 * open);
        draw_oval(c, x - 8, 14, 7, 7, color(250, 246, 218), 0.3 + 0.7 * open);
        if (open > 0.5) {
            draw_oval(c, x - 10, 12.5, 1.6, 1.6, color(222, 216, 190), 1);
            draw_oval(c, x - 5.5, 16.5, 1.1, 1.1, color(222, 216, 190), 1);
            stars(s, 60, 1);
        }
    }
}

void scene_sky(stage *s)
{
    canvas *c = &s->c;
    const int w = s->slots.weather;

    if (w == glow) {
        draw_fall(c, 0, 0, world_width, 22, s->l.top, color(236, 92, 60));
        draw_fall(c, 0, 22, world_width, 100, color(236, 92, 60), mix(s->l.bottom, color(255, 214, 110), 0.4));
        const double x = 90 + pick(s, -5, 5);
        draw_glow(c, x, 36, 46, color(255, 200, 90), 0.9);
        draw_oval(c, x, 36, 11, 11, color(255, 78, 40), 1);
        for (int i = 0; i < 7; i++) {
            double y = pick(s, 8, 32), at = pick(s, 0, world_width);
            draw_oval(c, at, y, pick(s, 14, 26), pick(s, 0.9, 1.8), mix(color(150, 50, 90), color(255, 150, 110), (y - 8) / 24), 0.85);
        }
        return;
    }
    draw_fall(c, 0, 0, world_width, 52, s->l.top, s->l.bottom);
    draw_rect(c, 0, 52, world_width, 100, s->l.bottom);
    celestial(s, w == clear ? 1 : w == fog ? 0.1 : 0.2);
    if (w == rain)
        clouds(s, mix(s->l.top, color(20, 22, 30), 0.35), 0.9, 7, 2, 14);
    if (w == snow)
        clouds(s, mix(s->l.bottom, color(255, 255, 255), 0.25), 0.7, 6, 3, 14);
}

static void fall_rain(const stage *s, canvas *c, int index, double bright)
{
    nc_rng r = nc_rng_new(s->r.seed, nc_rng_stream(s->r.stream, 77, 0, 0));
    const rgb drop = color((int)(150 + 80 * bright), (int)(170 + 70 * bright), (int)(205 + 40 * bright));
    for (int i = 0; i < 70; i++) {
        const double x0 = nc_rng_uniform(&r) * 120, y0 = nc_rng_uniform(&r) * 130, length = 8 + 6 * nc_rng_uniform(&r), speed = 26 + 8 * nc_rng_uniform(&r);
        double y = y0 + speed * index;
        y -= 130 * (double)(int)(y / 130);
        const double x = x0 - y * 0.14;
        draw_line(c, x, y - 20, x - length * 0.14, y - 20 + length, 1.25, drop, 0.6);
    }
}

static void fall_snow(const stage *s, canvas *c, int index)
{
    nc_rng r = nc_rng_new(s->r.seed, nc_rng_stream(s->r.stream, 78, 0, 0));
    for (int i = 0; i < 75; i++) {
        const double x0 = nc_rng_uniform(&r) * 110, y0 = nc_rng_uniform(&r) * 110, size = 0.8 + 1.1 * nc_rng_uniform(&r), speed = 2.6 + 2 * nc_rng_uniform(&r);
        double y = y0 + speed * index;
        y -= 110 * (double)(int)(y / 110);
        draw_oval(c, x0 - 5 + 2 * wave(nc_rng_uniform(&r) + index * 0.04), y - 5, size, size, color(255, 255, 255), 0.95);
    }
}

static void drift_fog(const stage *s, canvas *c, int index)
{
    nc_rng r = nc_rng_new(s->r.seed, nc_rng_stream(s->r.stream, 79, 0, 0));
    for (int i = 0; i < 7; i++) {
        const double y = 30 + 62 * nc_rng_uniform(&r), speed = 0.5 + nc_rng_uniform(&r);
        double x = nc_rng_uniform(&r) * 160 + speed * index;
        x -= 160 * (double)(int)(x / 160);
        for (int k = 0; k < 4; k++)
            draw_oval(c, x - 30 + 7 * k, y + (k % 2), 34 - 6 * k, 5.5 - k, mix(s->l.haze, color(255, 255, 255), 0.18), 0.13);
    }
}

void scene_weather(const stage *s, nc_image *frame, int index, int frames)
{
    canvas c = { *frame, frame->width / 100.0 };
    (void)frames;
    if (s->slots.weather == rain)
        fall_rain(s, &c, index, s->slots.time == night ? 0 : s->slots.time == noon || s->slots.time == morning ? 1 : 0.4);
    else if (s->slots.weather == snow)
        fall_snow(s, &c, index);
    else if (s->slots.weather == fog)
        drift_fog(s, &c, index);
}
