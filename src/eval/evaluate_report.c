/* evaluate_report.c - predictions.jsonl, scores.json and report.html of an evaluation. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "eval/evaluate_parts.h"
#include "eval/report.h"
#include "media/resize.h"
#include "media/video.h"

enum { FRAMES = 4, CELL = 128, QUALITY = 85 };

struct pictures { nc_frame frame[FRAMES]; nc_buf bytes[FRAMES]; int count; };

static void put(nc_arena *a, nc_json *j, const char *key, double v)
{
    if (!isnan(v))
        nc_json_set(a, j, key, nc_json_new_double(a, v));
}

static int write_predictions(const nc_cases *c, const char *path, nc_error *e)
{
    nc_writer *w = NULL;
    nc_buf line = { 0 };
    NC_TRY(nc_writer_open(path, &w, e));
    nc_arena *a = nc_arena_new();
    for (int i = 0; i < c->count; i++) {
        const nc_case *x = &c->at[i];
        nc_json *j = nc_json_new(a, NC_JSON_OBJECT), *references = nc_json_new(a, NC_JSON_ARRAY);
        nc_json_set(a, j, "id", nc_json_new_string(a, nc_str_of(x->id)));
        if (x->media_count)
            nc_json_set(a, j, "media", nc_json_new_string(a, nc_str_of(x->media[0].name)));
        nc_json_set(a, j, "prediction", nc_json_new_string(a, x->prediction));
        for (int r = 0; r < x->reference_count; r++)
            nc_json_append(references, nc_json_new_string(a, x->references[r]));
        nc_json_set(a, j, "references", references);
        put(a, j, "meteor", x->meteor);
        put(a, j, "rouge_l", x->rouge_l);
        put(a, j, "cider", x->cider);
        if (x->has_slots)
            nc_json_set(a, j, "slots_right", nc_json_new_int(a, x->right));
        nc_buf_clear(&line);
        nc_json_write(&line, j, 0);
        nc_buf_addc(&line, '\n');
        nc_writer_add(w, line.p, line.n);
        nc_arena_reset(a);
    }
    nc_arena_free(a);
    nc_buf_free(&line);
    return nc_writer_commit(w, e);
}

/* A frame made small, as JPEG; what cannot be shown is left out of the report, the scores do not depend on it. */
static void add_frame(struct pictures *p, nc_image *im)
{
    nc_error ignored = { 0 };
    nc_image small = { 0 };
    int longest = im->width > im->height ? im->width : im->height;
    double scale = longest > CELL ? (double)CELL / longest : 1;
    int width = (int)(im->width * scale), height = (int)(im->height * scale);
    if (nc_image_rgb(im, &ignored) < 0 || nc_resize(im, width > 0 ? width : 1, height > 0 ? height : 1, NC_BILINEAR, NULL, NC_RESIZE_PILLOW, &small, &ignored) < 0)
        return;
    if (nc_image_encode_jpeg(&small, QUALITY, &p->bytes[p->count], &ignored) == 0) {
        p->frame[p->count] = (nc_frame){ p->bytes[p->count].p, p->bytes[p->count].n, "image/jpeg" };
        p->count++;
    }
    nc_image_free(&small);
}

static void open_pictures(const nc_case *x, struct pictures *p)
{
    nc_error ignored = { 0 };
    *p = (struct pictures){ 0 };
    if (x->media_count && x->media[0].is_video) {
        nc_video *v = NULL;
        nc_image frames[FRAMES] = { 0 };
        int taken = 0;
        if (nc_video_open(x->media[0].name, NULL, &v, &ignored) == 0 && nc_video_sample(v, NC_SAMPLE_LINSPACE, FRAMES, frames, NULL, &taken, &ignored) < 0)
            taken = 0;
        for (int i = 0; i < taken; i++)
            add_frame(p, &frames[i]);
        for (int i = 0; i < FRAMES; i++)
            nc_image_free(&frames[i]);
        nc_video_free(v);
        return;
    }
    for (int i = 0; i < x->media_count && p->count < FRAMES; i++) {
        nc_image im = { 0 };
        if (nc_image_load(x->media[i].name, NULL, &im, &ignored) == 0)
            add_frame(p, &im);
        nc_image_free(&im);
    }
}

static void add_case(nc_report *r, const nc_case *x, bool frames)
{
    struct pictures p = { 0 };
    nc_score scores[4];
    int n = 0;
    char note[64] = "";
    if (frames)
        open_pictures(x, &p);
    if (!isnan(x->meteor)) {
        scores[n++] = (nc_score){ "METEOR", x->meteor };
        scores[n++] = (nc_score){ "ROUGE-L", x->rouge_l };
        scores[n++] = (nc_score){ "CIDEr-D", x->cider };
    }
    if (x->has_slots)
        snprintf(note, sizeof note, "%d of %d slots named rightly", x->right, (int)nc_scene_slot_count);
    nc_report_sample(r, &(nc_report_row){ .id = x->id, .note = note[0] ? note : NULL, .frames = p.frame, .frame_count = p.count, .prediction = x->prediction,
                                          .references = x->references, .reference_count = x->reference_count, .scores = scores, .score_count = n });
    for (int i = 0; i < FRAMES; i++)
        nc_buf_free(&p.bytes[i]);
}

static int write_report(const nc_cases *c, const nc_evaluate_options *o, const nc_evaluate_result *s, const char *path, nc_error *e)
{
    nc_error ignored = { 0 };
    char number[64];
    nc_report *r = nc_report_new("Evaluation", o->data);
    nc_report_score(r, "METEOR", s->meteor, 3, "NLTK's definition, eojeol");
    nc_report_score(r, "BLEU-4", s->bleu4, 3, "eojeol");
    nc_report_score(r, "CIDEr-D", s->cider, 3, "eojeol");
    nc_report_score(r, "ROUGE-L", s->rouge_l, 3, "eojeol");
    if (!isnan(s->slot_accuracy))
        nc_report_score(r, "slots", s->slot_accuracy, 3, "place, time, weather, objects, camera named rightly");
    if (!isnan(s->meteor_ceiling))
        nc_report_score(r, "METEOR ceiling", s->meteor_ceiling, 3, "a fresh caption of the generator");
    nc_report_setting(r, "model", o->folder ? o->folder : nc_session_loaded(o->session)->folder);
    nc_report_setting(r, "data", o->data);
    snprintf(number, sizeof number, "%d", s->samples);
    nc_report_setting(r, "samples", number);
    snprintf(number, sizeof number, "%.3f (METEOR), %.3f (BLEU-4)", s->meteor_syllable, s->bleu4_syllable);
    nc_report_setting(r, "over syllables", number);
    snprintf(number, sizeof number, "%.0f", s->tokens_per_second);
    nc_report_setting(r, "tokens per second", number);
    if (o->training_metrics)
        nc_report_curves(r, o->training_metrics, &ignored);
    int with_frames = o->report_samples > 0 ? o->report_samples : 48;
    for (int i = 0; i < c->count; i++)
        add_case(r, &c->at[i], i < with_frames);
    int status = nc_report_write(r, path, e);
    nc_report_free(r);
    return status;
}

int nc_cases_write(const nc_cases *c, const nc_evaluate_options *o, const nc_evaluate_result *r, nc_error *e)
{
    nc_arena *a = c->arena;
    nc_buf scores = { 0 };
    NC_TRY(nc_mkdirs(o->out, e));
    NC_TRY(write_predictions(c, nc_path_join(a, o->out, "predictions.jsonl"), e));
    nc_json_write(&scores, nc_evaluate_json(a, r), 2);
    nc_buf_addc(&scores, '\n');
    int status = nc_file_write(nc_path_join(a, o->out, "scores.json"), scores.p, scores.n, e);
    nc_buf_free(&scores);
    NC_TRY(status);
    return write_report(c, o, r, nc_path_join(a, o->out, "report.html"), e);
}
