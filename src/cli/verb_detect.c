/* verb_detect.c - the objects pictures show, a JSON line each, and pictures with their boxes. */
#include <stdio.h>

#include "base/file.h"
#include "cli/cli.h"
#include "infer/detect.h"
#include "media/annotate.h"

static const nc_cli_option options[] = {
    { "threshold", "P", "the least score of what is said; 0.5" },
    { "out", "PATH", "a PNG with the boxes; with several pictures a folder for them" },
    { "dtype", "TYPE", "f32 (the default) or bf16" },
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

static int run(nc_cli *c, nc_error *e)
{
    nc_detector *d = NULL;
    double threshold;
    int64_t threads;
    NC_TRY(nc_cli_double(c, "threshold", 0, 1, 0.5, &threshold, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    for (int i = 1; i < c->words; i++)           /* a wrong name is told before the model is loaded */
        if (!nc_file_exists(c->word[i]))
            return nc_fail(e, NC_ENOTFOUND, "%s: no such file", c->word[i]);
    if (nc_cli_get(c, "out") && c->words > 2)
        NC_TRY(nc_mkdirs(nc_cli_get(c, "out"), e));
    int status = nc_detector_open(c->word[0], nc_cli_get(c, "dtype"), (int)threads, &d, e);
    for (int i = 1; i < c->words && status == 0; i++)
        status = one(c, d, c->word[i], threshold, e);
    nc_detector_close(d);
    return status;
}

const nc_verb nc_verb_detect = { "detect", "FOLDER FILE...", "the objects pictures show (DETR)",
                                 "Prints a JSON line for each object: file, label, score, box (left, top, right, bottom in pixels), best first.", options, 2, 4096, false, run };
