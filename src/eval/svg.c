/* svg.c - axes with round ticks (1, 2, 5 times a power of ten), grid, a line a series, a legend. */
#include "eval/svg.h"
#include <float.h>
#include <math.h>
#include <stdio.h>

#define POINTS 600
#define COLOURS 6

const char nc_svg_style[] =
    ":root{--s0:#2f6feb;--s1:#e0682f;--s2:#1a9c6b;--s3:#a14fd1;--s4:#c2940a;--s5:#d33f6a;--ink:#1b1f24;--muted:#69727d;--line:#e3e7ec}"
    "@media(prefers-color-scheme:dark){:root{--s0:#6ea0ff;--s1:#ff9a66;--s2:#4ecb9b;--s3:#c98af0;--s4:#e6c04b;--s5:#ff7d9f;--ink:#e8ebef;--muted:#97a1ad;--line:#2b323b}}";

/* Where the plot lies in the viewBox and how values map to it. */
struct frame { double left, right, top, bottom, x0, x1, y0, y1; bool log_y; };

static double at_x(const struct frame *f, double x) { return f->left + (x - f->x0) / (f->x1 - f->x0) * (f->right - f->left); }
static double at_y(const struct frame *f, double y)
{
    double v = f->log_y ? log10(y) : y;
    return f->bottom - (v - f->y0) / (f->y1 - f->y0) * (f->bottom - f->top);
}

static void find_range(const nc_chart *c, struct frame *f)
{
    double least = DBL_MAX, most = -DBL_MAX;
    f->x0 = DBL_MAX;
    f->x1 = -DBL_MAX;
    f->log_y = c->log_y;
    for (int s = 0; s < c->count; s++)
        for (int i = 0; i < c->series[s].n; i++) {
            double x = c->series[s].x[i], y = c->series[s].y[i];
            if (!isfinite(x) || !isfinite(y))
                continue;
            f->x0 = fmin(f->x0, x);
            f->x1 = fmax(f->x1, x);
            least = fmin(least, y);
            most = fmax(most, y);
        }
    if (f->x0 > f->x1) {
        f->x0 = least = 0;
        f->x1 = most = 1;
    }
    f->log_y = f->log_y && least > 0;
    f->y0 = f->log_y ? log10(least) : least;
    f->y1 = f->log_y ? log10(most) : most;
    double pad = (f->y1 - f->y0) * 0.06;
    if (pad <= 0)
        pad = fmax(fabs(f->y1) * 0.1, 1e-12);
    f->y0 -= least >= 0 && !f->log_y && f->y0 < pad ? f->y0 : pad;      /* a curve near zero starts at zero */
    f->y1 += pad;
    if (f->x1 <= f->x0)
        f->x1 = f->x0 + 1;
}

/* The step of about `wanted` ticks over a span. */
static double round_step(double span, int wanted)
{
    double raw = span / wanted, power = pow(10, floor(log10(raw))), part = raw / power;
    return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static void tick_text(nc_buf *b, double v)
{
    double size = fabs(v);
    if (size >= 1e9 || (size != 0 && size < 1e-4))
        nc_buf_printf(b, "%.3g", size < 1e-12 ? 0.0 : v);
    else if (size >= 1e6)
        nc_buf_printf(b, "%.4gM", v / 1e6);
    else if (size >= 1e4)
        nc_buf_printf(b, "%.4gk", v / 1e3);
    else
        nc_buf_printf(b, "%.4g", v);
}

static void draw_x_ticks(nc_buf *b, const struct frame *f)
{
    double step = round_step(f->x1 - f->x0, 6);
    for (double v = ceil(f->x0 / step) * step; v <= f->x1 + step * 1e-9; v += step) {
        nc_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" class=\"t\">", at_x(f, v), f->bottom + 16);
        tick_text(b, v);
        nc_buf_adds(b, "</text>");
    }
}

static void draw_y_tick(nc_buf *b, const struct frame *f, double value)
{
    double y = at_y(f, value);
    nc_buf_printf(b, "<path d=\"M%.1f %.1fH%.1f\" class=\"g\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" class=\"t\">", f->left, y, f->right, f->left - 7, y + 4);
    tick_text(b, value);
    nc_buf_adds(b, "</text>");
}

/* Round values; on a logarithmic axis 1, 2 and 5 of every decade, or whole decades when there are many. */
static void draw_y_ticks(nc_buf *b, const struct frame *f)
{
    static const double parts[] = { 1, 2, 5 };
    double step = round_step(f->y1 - f->y0, 5), decades = f->y1 - f->y0;
    if (!f->log_y) {
        for (double v = ceil(f->y0 / step) * step; v <= f->y1 + step * 1e-9; v += step)
            draw_y_tick(b, f, fabs(v) < step * 1e-6 ? 0 : v);
        return;
    }
    int used = decades > 3 ? 1 : 3, every = decades > 8 ? (int)(decades / 5) : 1;
    for (int decade = (int)floor(f->y0); decade <= (int)ceil(f->y1); decade += every)
        for (int i = 0; i < used; i++) {
            double v = parts[i] * pow(10, decade);
            if (log10(v) >= f->y0 && log10(v) <= f->y1)
                draw_y_tick(b, f, v);
        }
}

/* One polyline, a point every `stretch` values: the mean of that stretch, or with half > 0 of the window of 2 half + 1 values around it.
 * Returns the points drawn. */
static int draw_line(nc_buf *b, const struct frame *f, const nc_series *s, int stretch, int half, const char *class, int colour)
{
    int drawn = 0;
    nc_buf_printf(b, "<polyline class=\"%s\" style=\"stroke:var(--s%d)\" points=\"", class, colour);
    for (int i = 0; i < s->n; i += stretch) {
        double x = 0, y = 0;
        int n = 0, from = i > half ? i - half : 0, to = half ? i + half + 1 : i + stretch;
        for (int k = from; k < to && k < s->n; k++)
            if (isfinite(s->x[k]) && isfinite(s->y[k])) {
                x += s->x[k];
                y += s->y[k];
                n++;
            }
        if (n)
            nc_buf_printf(b, "%s%.2f,%.2f", drawn++ ? " " : "", at_x(f, x / n), at_y(f, y / n));
    }
    nc_buf_adds(b, "\"/>");
    return drawn;
}

/* A long series is drawn faintly as it is, and in full colour as a moving mean over a fortieth of it. */
static void draw_series(nc_buf *b, const struct frame *f, const nc_series *s, int colour)
{
    int stretch = s->n > POINTS ? (s->n + POINTS - 1) / POINTS : 1;
    bool noisy = s->n > 120 && !s->points && !s->plain;
    int drawn = draw_line(b, f, s, stretch, 0, noisy ? "l faint" : "l", colour);
    if (noisy)
        draw_line(b, f, s, stretch, s->n / 80, "l", colour);
    for (int i = 0; i < s->n && (s->points || drawn == 1); i++)
        if (isfinite(s->x[i]) && isfinite(s->y[i]))
            nc_buf_printf(b, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"3\" style=\"fill:var(--s%d)\"/>", at_x(f, s->x[i]), at_y(f, s->y[i]), colour);
}

static void draw_legend(nc_buf *b, const nc_chart *c, const struct frame *f)
{
    double x = f->right;
    for (int i = c->count - 1; i >= 0 && c->count > 1; i--) {
        nc_str name = nc_str_of(c->series[i].name);
        x -= 7.2 * (double)name.n + 22;
        nc_buf_printf(b, "<path d=\"M%.1f 19h12\" class=\"l\" style=\"stroke:var(--s%d)\"/><text x=\"%.1f\" y=\"23\" class=\"t\">", x, i % COLOURS, x + 16);
        nc_buf_html(b, name);
        nc_buf_adds(b, "</text>");
    }
}

void nc_svg_chart(nc_buf *b, const nc_chart *c)
{
    int width = c->width ? c->width : 560, height = c->height ? c->height : 260;
    struct frame f = { .left = 58, .right = width - 14, .top = 38, .bottom = height - 34 };
    find_range(c, &f);
    nc_buf_printf(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" class=\"chart\" font-family=\"Pretendard,Noto Sans KR,NanumGothic,system-ui,sans-serif\"><style>.chart .t{font-size:12px;fill:var(--muted)}"
                     ".chart .h{font-size:14px;font-weight:600;fill:var(--ink)}.chart .g{stroke:var(--line);fill:none}.chart .l{fill:none;stroke-width:1.8;stroke-linejoin:round}.chart .faint{stroke-opacity:.28;stroke-width:1.2}</style>", width, height);
    nc_buf_printf(b, "<text x=\"%.0f\" y=\"23\" class=\"h\">", f.left);
    nc_buf_html(b, nc_str_of(c->title ? c->title : ""));
    nc_buf_adds(b, "</text>");
    draw_y_ticks(b, &f);
    draw_x_ticks(b, &f);
    nc_buf_printf(b, "<path d=\"M%.1f %.1fH%.1f\" class=\"g\"/>", f.left, f.bottom, f.right);
    for (int i = 0; i < c->count; i++)
        draw_series(b, &f, &c->series[i], i % COLOURS);
    draw_legend(b, c, &f);
    if (c->x_label) {
        nc_buf_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"end\" class=\"t\">", f.right, height - 4);
        nc_buf_html(b, nc_str_of(c->x_label));
        nc_buf_adds(b, "</text>");
    }
    nc_buf_adds(b, "</svg>");
}
