/* scenes_draw.h - the painter of korean-scenes: a canvas, the light of a time and weather, places, things, weather in front. Inside src/data only.
 *
 * A world is 180 x 100 units, y down; the camera sees a square of it (100 units when nothing is magnified). Colours are given as they look at noon;
 * ink() gives what they look like under the clip's light, at a depth (0 near, 1 far), with snow on what lies open to the sky.
 * Only + - * / floor and comparisons of doubles are used: the same seed gives the same pixels on every machine.
 */
#ifndef NC_DATA_SCENES_DRAW_H
#define NC_DATA_SCENES_DRAW_H
#include "base/rng.h"
#include "data/scenes.h"
#include "media/image.h"

enum { world_width = 180, world_height = 100, oversample = 2 };

typedef struct rgb { double r, g, b; } rgb;
typedef struct point { double x, y; } point;

/* A picture of the world, `scale` pixels a unit. */
typedef struct canvas { nc_image im; double scale; } canvas;

typedef struct light {
    rgb top, bottom;            /* the sky */
    rgb tint;                   /* daylight times this */
    rgb haze;                   /* what distance fades to */
    double near, far;           /* how much of it at depth 0 and 1 */
    double snow;                /* how white open ground is */
    double lamps;               /* 0 off, 1 all on */
} light;

typedef struct stage {
    canvas c;
    light l;
    nc_scene_slots slots;
    nc_rng r;
} stage;

typedef struct view { double x, y, size; } view;      /* left, top, side in units */

rgb color(int r, int g, int b);
rgb mix(rgb a, rgb b, double t);
rgb ink(const stage *s, rgb c, double depth, double cover);
double wave(double turns);                            /* sine of turns full circles, to 1e-3 */
double pick(stage *s, double low, double high);       /* uniform */

void draw_rect(canvas *c, double x0, double y0, double x1, double y1, rgb color);
void draw_poly(canvas *c, const point *p, int n, rgb color, double alpha);
void draw_oval(canvas *c, double x, double y, double rx, double ry, rgb color, double alpha);
void draw_line(canvas *c, double x0, double y0, double x1, double y1, double width, rgb color, double alpha);
void draw_fall(canvas *c, double x0, double y0, double x1, double y1, rgb top, rgb bottom);    /* vertical gradient */
void draw_glow(canvas *c, double x, double y, double radius, rgb color, double strength);

void scene_light(int time, int weather, light *l);
void scene_sky(stage *s);
void scene_place(stage *s);                           /* everything that stands still */
/* Thing `kind` at phase 0..1 of the clip; index 0 or 1 tells two things apart, v is what the camera sees. */
typedef struct thing { int kind, index; bool leftward; double lane, offset; rgb coat; } thing;
thing scene_thing(stage *s, int kind, int index);
void scene_draw_thing(const stage *s, canvas *c, const thing *t, double phase, view v);
void scene_weather(const stage *s, nc_image *frame, int index, int frames);
view scene_view(const stage *s, double phase, bool leftward);
void scene_shoot(const canvas *c, view v, nc_image *frame);
#endif
