/* verb_detect.c - the objects pictures show, a JSON line each, and pictures with their boxes: by a detector, or asked of a model that answers with places (Florence-2). */
#include <stdio.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/regions.h"
#include "infer/detect.h"
#include "media/annotate.h"

static const nc_cli_option options[] = {
    { "threshold", "P", "the least score of what a detector says; 0.5" },
    { "task", "TEXT", "what a model is asked (Florence-2: <OD>, '<CAPTION_TO_PHRASE_GROUNDING> a red boat'); <OD>" },
    { "max-tokens", "N", "of its answer" },
    { "beams", "N", "beam search for it with N beams" },
    { "out", "PATH", "a PNG with the boxes; with several pictures a folder for them" },
    { "dtype", "TYPE", "f32 or bf16; f32 of detectors, else the checkpoint's" },
    { "threads", "N", "threads, all CPUs by default" },
    { NULL, NULL, NULL },
};

static void add_line(nc_buf *b, const nc_detector *d, const char *path, const nc_detection *found)
{
    nc_buf_adds(b, "{\"file\": ");
    nc_buf_json_string(b, nc_str_of(path));
    nc_buf_adds(b, ", \"label\": ");
    nc_buf_json_string(b, nc_str_of(nc_detector_label(d, found->label)));
    nc_buf_printf(b, ", \"score\": %.6g, \"box\": [%.2f, %.2f, %.2f, %.2f]}\n", found->score, found->box[0], found->box[1], found->box[2], found->box[3]);
}

/* The picture's own name with .png under the folder, or `out` itself. */
static const char *target(nc_arena *a, const char *out, const char *path, bool is_folder)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *dot = strrchr(name, '.');
    return is_folder ? nc_path_join(a, out, nc_arena_printf(a, "%.*s.png", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name)) : out;
}

static int draw(const nc_detector *d, nc_arena *a, nc_image *im, const nc_detection *found, int count, const char *path, nc_error *e)
{
    nc_mark *marks = NC_NEW_ARRAY(a, nc_mark, count + 1);
    for (int i = 0; i < count; i++)
        marks[i] = (nc_mark){ found[i].box[0], found[i].box[1], found[i].box[2], found[i].box[3],
                              nc_arena_printf(a, "%s %.2f", nc_detector_label(d, found[i].label), found[i].score), found[i].label };
    NC_TRY(nc_image_mark(im, marks, count, e));
    return nc_image_save_png(im, path, e);
}

static int one(nc_cli *c, nc_detector *d, const char *path, double threshold, nc_error *e)
{
    const char *out = nc_cli_get(c, "out");
    nc_arena *a = nc_arena_new();
    nc_image im = { 0 };
    nc_detection *found = NULL;
    nc_buf b = { 0 };
    int count = 0, status = nc_image_load(path, NULL, &im, e);
    if (status == 0)
        status = nc_detect(d, a, &im, threshold, &found, &count, e);
    for (int i = 0; i < count && status == 0; i++)
        add_line(&b, d, path, &found[i]);
    if (status == 0 && out)
        status = draw(d, a, &im, found, count, target(a, out, path, c->words > 2), e);
    nc_cli_print(&b);
    nc_image_free(&im);
    nc_arena_free(a);
    return status;
}

/* ---- asked in words ---- */

static int draw_told(nc_arena *a, const nc_regions *r, const char *from, const char *to, nc_error *e)
{
    nc_mark *marks = NC_NEW_ARRAY(a, nc_mark, r->count + 1);
    nc_image im = { 0 };
    for (int i = 0; i < r->count; i++) {
        const nc_region *x = &r->item[i];
        float low[2] = { 0 }, high[2] = { 0 };
        for (int k = 0; k < x->count; k++) {
            low[k % 2] = k < 2 || (float)x->xy[k] < low[k % 2] ? (float)x->xy[k] : low[k % 2];
            high[k % 2] = k < 2 || (float)x->xy[k] > high[k % 2] ? (float)x->xy[k] : high[k % 2];
        }
        marks[i] = (nc_mark){ low[0], low[1], high[0], high[1], x->label, x->number };
    }
    NC_TRY(nc_image_load(from, NULL, &im, e));
    int status = nc_image_mark(&im, marks, r->count, e);
    if (status == 0)
        status = nc_image_save_png(&im, to, e);
    nc_image_free(&im);
    return status;
}

static int ask(nc_cli *c, nc_session *s, const char *task, const char *path, const nc_generation_options *o, nc_error *e)
{
    const char *out = nc_cli_get(c, "out");
    nc_arena *a = nc_arena_new();
    nc_told told;
    nc_buf b = { 0 };
    int status = nc_regions_ask(s, a, task, &(nc_attachment){ .name = path }, o, &told, e);
    for (int i = 0; status == 0 && i < told.regions.count;) {
        nc_buf_adds(&b, "{\"file\": ");
        nc_buf_json_string(&b, nc_str_of(path));
        nc_buf_adds(&b, ", \"label\": ");
        i = nc_regions_members(&b, &told.regions, i);
        nc_buf_adds(&b, "}\n");
    }
    if (status == 0 && out)
        status = draw_told(a, &told.regions, path, target(a, out, path, c->words > 2), e);
    nc_cli_print(&b);
    nc_arena_free(a);
    return status;
}

static int run_asked(nc_cli *c, const char *task, int threads, nc_error *e)
{
    nc_session *s = NULL;
    nc_generation_options o;
    int64_t tokens, beams;
    task = nc_cli_get(c, "task") ? nc_cli_get(c, "task") : task;
    NC_TRY(nc_cli_int(c, "max-tokens", 1, 1 << 24, 0, &tokens, e));
    NC_TRY(nc_cli_int(c, "beams", 1, 64, 0, &beams, e));
    if (nc_cli_get(c, "threshold"))
        return nc_cli_usage(c, e, "detect: --threshold: this model tells places in words, without scores");
    if (nc_region_form_of(task) == NC_REGIONS_NONE)
        return nc_cli_usage(c, e, "detect: --task %s: an answer to it tells no places; <OD>, <DENSE_REGION_CAPTION>, <CAPTION_TO_PHRASE_GROUNDING> TEXT and others do", task);
    int status = nc_session_open(c->word[0], &(nc_session_options){ .dtype = nc_cli_get(c, "dtype"), .engine = { .sequences = beams ? (int)beams : 1 }, .threads = threads }, &s, e);
    if (status == 0)
        nc_session_defaults(s, &o);
    if (status == 0 && tokens)
        o.max_tokens = (int)tokens;
    if (status == 0 && beams)
        o.beams = (int)beams;
    for (int i = 1; i < c->words && status == 0; i++)
        status = ask(c, s, task, c->word[i], &o, e);
    nc_session_close(s);
    return status;
}

/* The word a model of this folder is asked with; NULL: it is a detector. */
static int word_of(const char *folder, const char **out, nc_error *e)
{
    nc_loaded *l = NULL;
    NC_TRY(nc_load(folder, &(nc_load_options){ .config_only = true }, &l, e));
    *out = l->model->family->encoder ? nc_source_task(l->processor, NC_TASK_DETECT) : NULL;
    nc_loaded_free(l);
    return 0;
}

static int run(nc_cli *c, nc_error *e)
{
    nc_detector *d = NULL;
    const char *word = NULL;
    double threshold;
    int64_t threads;
    NC_TRY(nc_cli_double(c, "threshold", 0, 1, 0.5, &threshold, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    for (int i = 1; i < c->words; i++)           /* a wrong name is told before the model is loaded */
        if (!nc_file_exists(c->word[i]))
            return nc_fail(e, NC_ENOTFOUND, "%s: no such file", c->word[i]);
    if (nc_cli_get(c, "out") && c->words > 2)
        NC_TRY(nc_mkdirs(nc_cli_get(c, "out"), e));
    NC_TRY(word_of(c->word[0], &word, e));
    if (word)
        return run_asked(c, word, (int)threads, e);
    int status = nc_detector_open(c->word[0], nc_cli_get(c, "dtype"), (int)threads, &d, e);
    for (int i = 1; i < c->words && status == 0; i++)
        status = one(c, d, c->word[i], threshold, e);
    nc_detector_close(d);
    return status;
}

const nc_verb nc_verb_detect = { "detect", "FOLDER FILE...", "the objects pictures show (DETR, Florence-2)",
                                 "Prints a JSON line for each object: file, label, score, box (left, top, right, bottom in pixels), best first; Florence-2 tells no score, and for\nsome tasks a quad (four corners) or polygons.", options, 2, 4096, false, run };
