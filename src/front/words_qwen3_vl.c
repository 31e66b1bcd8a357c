/* words_qwen3_vl.c - Qwen3-VL: a video is its frames, each behind the time at the middle of what it shows: <1.5 seconds><|vision_start|>...<|vision_end|>. */
#include "front/words.h"

static void write(nc_words *w, const nc_visual *v, int rows)
{
    if (!v->is_video) {
        nc_words_run(w, false, rows);
        return;
    }
    for (int i = 0; i < v->frames; i++) {
        nc_buf_printf(&w->text, "<%.1f seconds><|vision_start|>", v->times ? v->times[i] : 0);
        nc_words_run(w, true, rows / v->frames);
        nc_buf_adds(&w->text, "<|vision_end|>");
    }
}

const nc_wording nc_wording_qwen3_vl = { .processor = "Qwen3VLProcessor", .write = write };
