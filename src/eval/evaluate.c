/* evaluate.c - the run: samples are read and decoded one after another while the engine writes the answers of those before. */
#include "eval/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "eval/evaluate_parts.h"

enum { AHEAD = 24 };                 /* answers under way at once */

struct run { nc_session *session; nc_cases *cases; nc_generation_options o; nc_generation *under_way[AHEAD]; int64_t new_tokens; };

static int begin(struct run *r, int index, nc_error *e)
{
    nc_case *c = &r->cases->at[index];
    nc_reading reading;
    int status = nc_session_read(r->session, c->messages, NULL, NULL, c->media, c->media_count, &reading, e);
    if (status == 0) {
        status = nc_generation_start(nc_session_engine(r->session), &reading.prompt, &r->o, &r->under_way[index % AHEAD], e);
        nc_reading_free(&reading);
    }
    if (status < 0)
        nc_fail_in(e, "sample %s", c->id);
    return status;
}

static int finish(struct run *r, int index, nc_error *e)
{
    nc_case *c = &r->cases->at[index];
    nc_generation *x = r->under_way[index % AHEAD];
    nc_buf text = { 0 };
    int status = 0;
    for (nc_piece *p; (p = nc_generation_next(x, -1)); nc_piece_free(p)) {
        if (p->text.n)
            nc_buf_add(&text, p->text.p, p->text.n);
        if (p->finish == NC_FINISH_ERROR)
            status = nc_fail(e, p->error.code, "sample %s: %s", c->id, p->error.message);
    }
    r->new_tokens += nc_generation_new_tokens(x);
    nc_generation_free(x);
    r->under_way[index % AHEAD] = NULL;
    size_t from = 0, to = text.n;
    while (from < to && strchr(" \n\t\r", text.p[from]))
        from++;
    while (to > from && strchr(" \n\t\r", text.p[to - 1]))
        to--;
    c->prediction = (nc_str){ nc_arena_strndup(r->cases->arena, text.p ? text.p + from : "", to - from), to - from };
    nc_buf_free(&text);
    return status;
}

static int answer_all(struct run *r, const nc_evaluate_options *o, nc_error *e)
{
    int begun = 0, done = 0, status = 0, n = r->cases->count;
    while (done < n && status == 0) {
        if (begun < n && begun - done < AHEAD)
            status = begin(r, begun++, e);
        else {
            status = finish(r, done++, e);
            if (status == 0 && o->progress)
                o->progress(o->context, done, n);
        }
    }
    for (int i = 0; i < AHEAD; i++)
        nc_generation_free(r->under_way[i]);
    return status;
}

/* A run's folder keeps its result in model/. */
static const char *model_folder(nc_arena *a, const char *folder)
{
    const char *inside = nc_path_join(a, folder, "model");
    bool is_run = nc_is_dir(folder) && !nc_file_exists(nc_path_join(a, folder, "config.json"));
    return is_run && nc_is_dir(inside) ? inside : folder;
}

static int evaluate(const nc_evaluate_options *o, nc_cases *cases, nc_session **own, nc_evaluate_result *out, nc_error *e)
{
    struct run r = { .cases = cases, .session = o->session, .o = { .choices = 1, .max_tokens = o->max_tokens > 0 ? o->max_tokens : 128 } };
    nc_sample_defaults(&r.o.sample);
    NC_TRY(nc_cases_read(o, cases, e));
    if (!r.session) {
        NC_TRY(nc_session_open(model_folder(cases->arena, o->folder), &o->open, own, e));
        r.session = *own;
    }
    double start = nc_now();
    NC_TRY(answer_all(&r, o, e));
    out->seconds = nc_now() - start;
    out->new_tokens = r.new_tokens;
    out->tokens_per_second = out->seconds > 0 ? (double)r.new_tokens / out->seconds : 0;
    nc_cases_score(cases, out);
    return o->out ? nc_cases_write(cases, o, out, e) : 0;
}

int nc_evaluate(const nc_evaluate_options *o, nc_evaluate_result *out, nc_error *e)
{
    nc_cases cases = { .arena = nc_arena_new() };
    nc_session *own = NULL;
    *out = (nc_evaluate_result){ 0 };
    int status = evaluate(o, &cases, &own, out, e);
    nc_session_close(own);
    nc_arena_free(cases.arena);
    return status;
}

static const char *const slot_names[nc_scene_slot_count] = { "place", "time", "weather", "objects", "camera" };

static void line(nc_buf *out, const char *name, double v, const char *note)
{
    if (!isnan(v))
        nc_buf_printf(out, "  %-18s %8.4f   %s\n", name, v, note);
}

void nc_evaluate_table(const nc_evaluate_result *r, nc_buf *out)
{
    char time[32];
    nc_buf_printf(out, "%d samples in %s, %.0f tokens/s\n", r->samples, nc_human_time(r->seconds, time), r->tokens_per_second);
    line(out, "METEOR", r->meteor, "NLTK's definition, eojeol");
    line(out, "METEOR ceiling", r->meteor_ceiling, "a fresh caption of the generator against the same references");
    line(out, "BLEU-4", r->bleu4, "eojeol");
    line(out, "CIDEr-D", r->cider, "eojeol");
    line(out, "ROUGE-L", r->rouge_l, "eojeol");
    line(out, "METEOR syllable", r->meteor_syllable, "NLTK's definition, syllables");
    line(out, "BLEU-4 syllable", r->bleu4_syllable, "syllables");
    line(out, "slot accuracy", r->slot_accuracy, "place, time, weather, objects, camera named rightly");
    for (int i = 0; i < nc_scene_slot_count; i++)
        line(out, slot_names[i], r->slot[i], "");
}

static void put(nc_arena *a, nc_json *j, const char *key, double v)
{
    nc_json_set(a, j, key, isnan(v) ? nc_json_new(a, NC_JSON_NULL) : nc_json_new_double(a, v));
}

nc_json *nc_evaluate_json(nc_arena *a, const nc_evaluate_result *r)
{
    nc_json *j = nc_json_new(a, NC_JSON_OBJECT), *slots = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, j, "samples", nc_json_new_int(a, r->samples));
    put(a, j, "meteor", r->meteor);
    put(a, j, "meteor_ceiling", r->meteor_ceiling);
    put(a, j, "bleu4", r->bleu4);
    put(a, j, "cider", r->cider);
    put(a, j, "rouge_l", r->rouge_l);
    put(a, j, "meteor_syllable", r->meteor_syllable);
    put(a, j, "bleu4_syllable", r->bleu4_syllable);
    put(a, j, "slot_accuracy", r->slot_accuracy);
    for (int i = 0; i < nc_scene_slot_count; i++)
        put(a, slots, slot_names[i], r->slot[i]);
    nc_json_set(a, j, "slots", slots);
    put(a, j, "seconds", r->seconds);
    put(a, j, "tokens_per_second", r->tokens_per_second);
    nc_json_set(a, j, "new_tokens", nc_json_new_int(a, r->new_tokens));
    return j;
}
