/* words_internvl.c - InternVL: <img>...</img> around a picture's rows, all tiles together; a video is a line for each frame, "Frame1: <img>...</img>". Both use the picture's
 * placeholder. */
#include "front/words.h"

static void one(nc_words *w, int rows)
{
    nc_buf_adds(&w->text, "<img>");
    nc_words_run(w, false, rows);
    nc_buf_adds(&w->text, "</img>");
}

static void write(nc_words *w, const nc_visual *v, int rows)
{
    if (!v->is_video) {
        one(w, rows);
        return;
    }
    for (int i = 0; i < v->frames; i++) {
        nc_buf_printf(&w->text, "%sFrame%d: ", i ? "\n" : "", i + 1);
        one(w, rows / v->frames);
    }
}

const nc_wording nc_wording_internvl = { .processor = "InternVLProcessor", .write = write };
