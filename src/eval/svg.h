/* svg.h - line charts as inline SVG. Colours come from CSS variables (--s0 ... --s5, --ink, --muted, --line), so a page's light
 * and dark themes apply; nc_svg_style holds defaults for a chart that stands alone. */
#ifndef NC_EVAL_SVG_H
#define NC_EVAL_SVG_H
#include "base/str.h"

typedef struct nc_series { const char *name; const double *x, *y; int n; bool points, plain; } nc_series;   /* points: a dot at every value; plain: no moving mean */

typedef struct nc_chart {
    const char *title, *x_label;
    const nc_series *series;
    int count;
    bool log_y;                                /* taken only when every value is positive */
    int width, height;                         /* of the viewBox; 0: 560 x 260 */
} nc_chart;

/* Appends one <svg>. Values that are not finite are left out; series of more than 600 points are drawn by the means of
 * equal stretches; beyond 120 points a moving mean lies over the faint curve. */
void nc_svg_chart(nc_buf *b, const nc_chart *c);
extern const char nc_svg_style[];
#endif
