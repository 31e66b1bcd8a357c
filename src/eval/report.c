/* report.c - the page is gathered in four buffers (figures, settings, charts, samples) and written in one piece. */
#include "eval/report.h"
#include "base/file.h"
#include "base/map.h"
#include "eval/report_page.h"
#include "eval/units.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct nc_report { char *title, *subtitle; nc_buf figures, settings, charts, tables, samples; int sample_count; };

nc_report *nc_report_new(const char *title, const char *subtitle)
{
    nc_report *r = nc_xcalloc(1, sizeof *r);
    r->title = nc_xstrdup(title);
    r->subtitle = nc_xstrdup(subtitle ? subtitle : "");
    return r;
}

void nc_report_free(nc_report *r)
{
    if (!r)
        return;
    nc_buf *all[] = { &r->figures, &r->settings, &r->charts, &r->tables, &r->samples };
    for (int i = 0; i < NC_COUNT(all); i++)
        nc_buf_free(all[i]);
    free(r->title);
    free(r->subtitle);
    free(r);
}

static void add_text(nc_buf *b, const char *before, const char *text, const char *after)
{
    nc_buf_adds(b, before);
    nc_buf_html(b, nc_str_of(text ? text : ""));
    nc_buf_adds(b, after);
}

void nc_report_score(nc_report *r, const char *name, double value, int decimals, const char *note)
{
    nc_buf *b = &r->figures;
    add_text(b, "<div class=\"card\"><div class=\"name\">", name, "</div><div class=\"value\">");
    if (isfinite(value))
        nc_buf_printf(b, "%.*f", decimals, value);
    else
        nc_buf_adds(b, "–");
    add_text(b, "</div><div class=\"note\">", note, "</div></div>\n");
}

void nc_report_setting(nc_report *r, const char *name, const char *value)
{
    add_text(&r->settings, "<tr><th>", name, "</th>");
    add_text(&r->settings, "<td>", value, "</td></tr>\n");
}

void nc_report_matrix(nc_report *r, const char *title, const nc_str *names, int n, const int64_t *counts)
{
    nc_buf *b = &r->tables;
    add_text(b, "<h2>", title, "</h2><table class=\"matrix\"><tr><th></th>");
    for (int k = 0; k < n; k++) {
        nc_buf_adds(b, "<th>");
        nc_buf_html(b, names[k]);
        nc_buf_adds(b, "</th>");
    }
    for (int i = 0; i < n; i++) {
        nc_buf_adds(b, "</tr>\n<tr><th>");
        nc_buf_html(b, names[i]);
        nc_buf_adds(b, "</th>");
        for (int k = 0; k < n; k++)
            nc_buf_printf(b, i == k ? "<td><mark>%lld</mark></td>" : "<td>%lld</td>", (long long)counts[i * n + k]);
    }
    nc_buf_adds(b, "</tr></table>\n");
}

void nc_report_chart(nc_report *r, const nc_chart *c)
{
    nc_buf_adds(&r->charts, "<figure>");
    nc_svg_chart(&r->charts, c);
    nc_buf_adds(&r->charts, "</figure>\n");
}

/* The prediction with the words that some reference holds marked. */
static void add_prediction(nc_buf *b, const nc_report_row *s)
{
    nc_arena *a = nc_arena_new();
    nc_map *known = nc_map_new(64);
    for (int i = 0; i < s->reference_count; i++) {
        nc_words w = nc_words_split(a, s->references[i]);
        for (int k = 0; k < w.n; k++)
            nc_map_set(known, w.at[k], 1);
    }
    nc_words w = nc_words_split(a, s->prediction);
    for (int k = 0; k < w.n; k++) {
        bool hit = nc_map_get(known, w.at[k], NULL);
        nc_buf_adds(b, k ? " " : "");
        nc_buf_adds(b, hit ? "<mark>" : "");
        nc_buf_html(b, w.at[k]);
        nc_buf_adds(b, hit ? "</mark>" : "");
    }
    nc_map_free(known);
    nc_arena_free(a);
}

static void add_frames(nc_buf *b, const nc_report_row *s)
{
    nc_buf_adds(b, "<div class=\"frames\">");
    for (int i = 0; i < s->frame_count; i++) {
        nc_buf_printf(b, "<img loading=\"lazy\" alt=\"frame %d\" src=\"data:%s;base64,", i + 1, s->frames[i].mime);
        nc_buf_base64(b, s->frames[i].bytes, s->frames[i].n);
        nc_buf_adds(b, "\">");
    }
    nc_buf_adds(b, "</div>");
}

void nc_report_sample(nc_report *r, const nc_report_row *s)
{
    nc_buf *b = &r->samples;
    double first = s->score_count && isfinite(s->scores[0].value) ? s->scores[0].value : 0, hue = 120 * fmin(fmax(first, 0), 1);
    nc_buf_printf(b, "<article data-score=\"%.6f\" data-at=\"%d\" style=\"--hue:%.0f\">", first, r->sample_count++, hue);
    add_frames(b, s);
    add_text(b, "<div class=\"texts\"><header><span class=\"id\">", s->id, "</span>");
    for (int i = 0; i < s->score_count; i++) {
        add_text(b, i ? "<span class=\"chip plain\">" : "<span class=\"chip\">", s->scores[i].name, "");
        nc_buf_printf(b, " <b>%.3f</b></span>", s->scores[i].value);
    }
    nc_buf_adds(b, "</header>");
    if (s->note && *s->note)
        add_text(b, "<p class=\"asked\">", s->note, "</p>");
    nc_buf_adds(b, "<p class=\"prediction\">");
    add_prediction(b, s);
    nc_buf_adds(b, "</p><ol>");
    for (int i = 0; i < s->reference_count; i++) {
        nc_buf_adds(b, "<li>");
        nc_buf_html(b, s->references[i]);
        nc_buf_adds(b, "</li>");
    }
    nc_buf_adds(b, "</ol></div></article>\n");
}

/* One number of metrics.jsonl over the steps. */
struct curve { nc_arena *a; char *name; double *x, *y; int n, capacity; };

static void add_point(struct curve *c, double x, double y)
{
    if (c->n == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 256;
        c->x = nc_xrealloc(c->x, sizeof *c->x * (size_t)c->capacity);
        c->y = nc_xrealloc(c->y, sizeof *c->y * (size_t)c->capacity);
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
}

struct curves { struct curve *at; int n, capacity; nc_map *index; };

static void read_line(struct curves *all, nc_arena *a, nc_str line, const char *path)
{
    nc_json *v;
    double step;
    if (nc_json_parse(a, line, path, &v, NULL) < 0 || !nc_json_is(nc_json_get(v, "step"), NC_JSON_NUMBER))
        return;
    step = nc_json_double(nc_json_get(v, "step"), 0);
    NC_JSON_EACH(item, v) {
        int64_t i;
        if (item->type != NC_JSON_NUMBER || nc_str_eqz(item->key, "step"))
            continue;
        if (!nc_map_get(all->index, item->key, &i)) {
            if (all->n == all->capacity) {
                all->capacity = all->capacity ? all->capacity * 2 : 16;
                all->at = nc_xrealloc(all->at, sizeof *all->at * (size_t)all->capacity);
            }
            i = all->n++;
            all->at[i] = (struct curve){ .name = nc_xstrdup(item->key.p) };
            nc_map_set(all->index, item->key, i);
        }
        add_point(&all->at[i], step, nc_json_double(item, NAN));
    }
}

static const struct curve *curve_named(const struct curves *all, const char *name)
{
    int64_t i;
    return nc_map_get(all->index, nc_str_of(name), &i) ? &all->at[i] : NULL;
}

/* A chart of those of the named curves that exist. */
static void chart_of(nc_report *r, const struct curves *all, const char *title, const char *const *names, int count, bool log_y)
{
    nc_series s[4];
    int n = 0;
    for (int i = 0; i < count && n < 4; i++) {
        const struct curve *c = curve_named(all, names[i]);
        if (c)
            s[n++] = (nc_series){ c->name, c->x, c->y, c->n, nc_starts_with(c->name, "eval_"), strcmp(c->name, "learning_rate") == 0 || strcmp(c->name, "lr") == 0 };
    }
    if (n)
        nc_report_chart(r, &(nc_chart){ .title = title, .x_label = "step", .series = s, .count = n, .log_y = log_y });
}

static void draw_curves(nc_report *r, const struct curves *all)
{
    static const char *const loss[] = { "loss", "eval_loss" }, *const rate[] = { "learning_rate", "lr" }, *const norm[] = { "grad_norm" },
                      *const speed[] = { "tokens_per_second" };
    chart_of(r, all, "Loss", loss, NC_COUNT(loss), false);
    chart_of(r, all, "Learning rate", rate, NC_COUNT(rate), false);
    chart_of(r, all, "Gradient norm", norm, NC_COUNT(norm), true);
    chart_of(r, all, "Tokens per second", speed, NC_COUNT(speed), false);
    for (int i = 0; i < all->n; i++) {
        const char *name = all->at[i].name;
        if (nc_starts_with(name, "eval_") && strcmp(name, "eval_loss") != 0)
            chart_of(r, all, name, &name, 1, false);
    }
}

int nc_report_curves(nc_report *r, const char *path, nc_error *e)
{
    nc_buf text = { 0 };
    if (!nc_file_exists(path))
        return nc_fail(e, NC_ENOTFOUND, "%s: no such file; the run's folder holds metrics.jsonl", path);
    int code = nc_file_read(path, (size_t)1 << 30, &text, e);
    if (code < 0) {
        nc_buf_free(&text);
        return code;
    }
    nc_arena *a = nc_arena_new();
    struct curves all = { .index = nc_map_new(32) };
    nc_words lines = nc_words_split_on(a, (nc_str){ text.p ? text.p : "", text.n }, '\n');
    nc_arena *parse = nc_arena_new();
    for (int i = 0; i < lines.n; i++) {
        nc_arena_reset(parse);
        if (lines.at[i].n)
            read_line(&all, parse, lines.at[i], path);
    }
    draw_curves(r, &all);
    for (int i = 0; i < all.n; i++) {
        free(all.at[i].name);
        free(all.at[i].x);
        free(all.at[i].y);
    }
    free(all.at);
    nc_map_free(all.index);
    nc_arena_free(parse);
    nc_arena_free(a);
    nc_buf_free(&text);
    return 0;
}

static void add_section(nc_writer *w, const nc_buf *b, const char *before, const char *after)
{
    if (!b->n)
        return;
    nc_writer_add(w, before, strlen(before));
    nc_writer_add(w, b->p, b->n);
    nc_writer_add(w, after, strlen(after));
}

int nc_report_write(const nc_report *r, const char *path, nc_error *e)
{
    nc_writer *w;
    nc_buf head = { 0 };
    NC_TRY(nc_writer_open(path, &w, e));
    add_text(&head, "<!doctype html>\n<html lang=\"ko\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>", r->title, "</title><style>");
    nc_buf_adds(&head, nc_svg_style);
    nc_buf_adds(&head, nc_report_style);
    add_text(&head, "</style></head><body><main><h1>", r->title, "</h1>");
    add_text(&head, "<p class=\"subtitle\">", r->subtitle, "</p>\n");
    add_section(w, &head, "", "");
    nc_buf_free(&head);
    add_section(w, &r->figures, "<section class=\"cards\">", "</section>\n");
    add_section(w, &r->charts, "<h2>Training</h2><section class=\"charts\">", "</section>\n");
    add_section(w, &r->tables, "<section>", "</section>\n");
    add_section(w, &r->settings, "<details><summary>Settings</summary><table>", "</table></details>\n");
    add_section(w, &r->samples, nc_report_tools, "</section>\n");
    nc_writer_add(w, nc_report_script, strlen(nc_report_script));
    nc_writer_add(w, "</main></body></html>\n", 22);
    return nc_writer_commit(w, e);
}
