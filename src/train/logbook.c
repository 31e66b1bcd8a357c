/* logbook.c - metrics as lines of JSON and as TensorBoard events; the bar with loss, speed and the time left (the bar's own). */
#include "train/logbook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/progress.h"
#include "formats/tfevents.h"

struct nc_logbook {
    FILE *lines;
    nc_tfevents *events;
    nc_progress *bar;
    double loss_sum, since;
    int64_t losses, tokens_before, samples_before;
};

/* Tokens a second, of stages without any (pictures and their labels) samples. */
static double speed_of(const nc_logbook *l, const nc_train_run *r, const char **unit)
{
    const bool counts = r->train->tokens > 0;
    *unit = counts ? "tok/s" : "pictures/s";
    return (double)(counts ? r->tokens - l->tokens_before : r->samples - l->samples_before) / (nc_now() - l->since + 1e-9);
}

/* Keeps the lines of steps up to `step`. */
static int cut_lines(nc_arena *a, const char *path, int64_t step, nc_error *e)
{
    nc_buf text = { 0 }, kept = { 0 };
    if (!nc_file_exists(path))
        return 0;
    NC_TRY(nc_file_read(path, (size_t)1 << 30, &text, e));
    for (size_t at = 0; at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        nc_json *line = NULL;
        nc_error broken = { 0 };
        if (end && nc_json_parse(a, (nc_str){ text.p + at, n }, path, &line, &broken) == 0 && nc_json_int(nc_json_get(line, "step"), step + 1) <= step)
            nc_buf_add(&kept, text.p + at, n + 1);
        at += n + 1;
    }
    int status = nc_file_write(path, kept.p ? kept.p : "", kept.n, e);
    nc_buf_free(&text);
    nc_buf_free(&kept);
    return status;
}

int nc_logbook_open(nc_train_run *r, nc_logbook **out, nc_error *e)
{
    const char *path = nc_path_join(r->arena, r->folder, "metrics.jsonl");
    nc_error spare = { 0 };
    if (r->step == 0)
        remove(path);
    NC_TRY(cut_lines(r->arena, path, r->step, e));
    nc_logbook *l = nc_xcalloc(1, sizeof *l);
    l->lines = fopen(path, "a");
    int status = l->lines ? 0 : nc_fail(e, NC_EIO, "%s cannot be written", path);
    if (status == 0)
        status = nc_tfevents_open(r->folder, r->step > 0 ? r->step : -1, &l->events, e);
    if (status < 0) {
        nc_logbook_close(l, r, &spare);
        return status;
    }
    char title[80];
    snprintf(title, sizeof title, "%s", r->s->name ? r->s->name : r->s->stage);
    l->bar = nc_progress_new(title, (double)r->total_steps);
    l->since = nc_now();
    l->tokens_before = r->tokens;
    l->samples_before = r->samples;
    *out = l;
    return 0;
}

static double epochs_done(const nc_train_run *r)
{
    return r->train->count ? (double)r->samples / r->train->count : 0;
}

static int write_line(nc_logbook *l, nc_train_run *r, const char *const *names, const double *values, int n, nc_error *e)
{
    nc_buf b = { 0 };
    nc_buf_printf(&b, "{\"step\": %" PRId64, r->step);
    for (int i = 0; i < n; i++) {
        nc_buf_printf(&b, ", \"%s\": ", names[i]);
        nc_buf_json_double(&b, values[i]);
    }
    nc_buf_adds(&b, "}\n");
    bool written = fwrite(b.p, 1, b.n, l->lines) == b.n && fflush(l->lines) == 0;
    nc_buf_free(&b);
    return written ? 0 : nc_fail(e, NC_EIO, "%s/metrics.jsonl cannot be written; is the disk full?", r->folder);
}

int nc_logbook_step(nc_logbook *l, nc_train_run *r, double loss, double norm, double rate, nc_error *e)
{
    l->loss_sum += loss;
    l->losses++;
    const char *unit;
    double speed = speed_of(l, r, &unit);
    nc_progress_set(l->bar, (double)r->step, "loss %.4f  %.0f %s", loss, speed, unit);
    speed = r->train->tokens > 0 ? speed : 0;
    if (r->step % r->s->logging_steps && r->step != r->total_steps)
        return 0;
    static const char *const names[] = { "loss", "grad_norm", "learning_rate", "epoch", "tokens_per_second", "tokens", "samples" };
    double values[] = { l->loss_sum / (double)l->losses, norm, rate, epochs_done(r), speed, (double)r->tokens, (double)r->samples };
    static const char *const tags[] = { "train/loss", "train/grad_norm", "train/learning_rate", "train/epoch" };
    for (int i = 0; i < NC_COUNT(tags); i++)
        NC_TRY(nc_tfevents_scalar(l->events, tags[i], r->step, values[i], e));
    l->loss_sum = 0;
    l->losses = 0;
    return write_line(l, r, names, values, NC_COUNT(names), e);
}

int nc_logbook_eval(nc_logbook *l, nc_train_run *r, double loss, nc_error *e)
{
    nc_label_score score[NC_LABEL_SCORES];
    const char *names[NC_LABEL_SCORES + 2] = { "eval_loss", "epoch" };
    double values[NC_LABEL_SCORES + 2] = { loss, epochs_done(r) };
    int n = 2, scores = r->scores ? nc_label_scores_list(r->scores, score) : 0;
    NC_TRY(nc_tfevents_scalar(l->events, "eval/loss", r->step, loss, e));
    for (int i = 0; i < scores; i++) {
        NC_TRY(nc_tfevents_scalar(l->events, nc_arena_printf(r->arena, "eval/%s", score[i].name), r->step, score[i].value, e));
        names[n] = nc_arena_printf(r->arena, "eval_%s", score[i].name);
        values[n++] = score[i].value;
    }
    return write_line(l, r, names, values, n, e);
}

int nc_logbook_close(nc_logbook *l, nc_train_run *r, nc_error *e)
{
    const char *unit;
    int status = 0;
    if (!l)
        return 0;
    double speed = speed_of(l, r, &unit);
    if (l->bar)
        nc_progress_done(l->bar, "step %" PRId64 ", loss %.4f, %.0f %s", r->step, r->last_loss, speed, unit);
    if (l->lines && fclose(l->lines) != 0)
        status = nc_fail(e, NC_EIO, "%s/metrics.jsonl cannot be written", r->folder);
    if (l->events && nc_tfevents_close(l->events, status < 0 ? NULL : e) < 0 && status == 0)
        status = NC_EIO;
    free(l);
    return status;
}
