/* words_idefics.c - IDEFICS: a picture stands between two marks, and pictures that follow each other share the one between them. */
#include "front/words.h"

#include <string.h>

static const char mark[] = "<fake_token_around_image>";

static bool ends_in_picture(const nc_words *w)
{
    const size_t m = strlen(mark), n = strlen(w->spelling[0]);
    return w->runs && w->text.n >= m + n && !memcmp(w->text.p + w->text.n - m, mark, m) && !memcmp(w->text.p + w->text.n - m - n, w->spelling[0], n);
}

static void write(nc_words *w, const nc_visual *v, int rows)
{
    (void)v;
    if (!ends_in_picture(w))
        nc_buf_adds(&w->text, mark);
    nc_words_run(w, false, rows);
    nc_buf_adds(&w->text, mark);
}

const nc_wording nc_wording_idefics = { .processor = "IdeficsProcessor", .write = write, .template_name = "idefics", .end = "<end_of_utterance>", .template_without = "idefics_base" };
