/* words_idefics3.c - Idefics3 and SmolVLM: every tile of a cut picture under the name of its row and column, a line for each row of tiles, then the whole picture. */
#include "front/words.h"

static void write(nc_words *w, const nc_visual *v, int rows)
{
    const int tiles = v->tile_rows * v->tile_columns, each = v->frames > 0 ? rows / v->frames : rows;
    for (int y = 0; y < v->tile_rows; y++) {
        for (int x = 0; x < v->tile_columns; x++) {
            nc_buf_printf(&w->text, "<fake_token_around_image><row_%d_col_%d>", y + 1, x + 1);
            nc_words_run(w, false, each);
        }
        nc_buf_adds(&w->text, "\n");
    }
    nc_buf_adds(&w->text, tiles ? "\n<fake_token_around_image><global-img>" : "<fake_token_around_image><global-img>");
    nc_words_run(w, false, each);
    nc_buf_adds(&w->text, "<fake_token_around_image>");
}

const nc_wording nc_wording_idefics3 = { .processor = "Idefics3Processor", .write = write };
