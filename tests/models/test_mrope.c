/* test_mrope.c - positions of three axes: sections of the frequencies, positions of a text with pictures and a video, and what they are beyond the prompt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "models/model.h"
#include "nn/rope.h"

static void sections_share_out_the_frequencies(void **state)
{
    static const int in_order[] = { 0, 0, 0, 0, 1, 1, 2, 2 }, woven[] = { 0, 1, 2, 0, 1, 2, 0, 0 }, section[] = { 4, 2, 2 };
    nc_rope_scaling plain = { .type = "mrope", .theta = 1e4 };
    nc_error e = { 0 };
    (void)state;
    for (int k = 0; k < 2; k++) {
        nc_rope_spec s;
        assert_int_equal(nc_rope_make(&s, 16, NC_ROPE_HALVES, &plain, &e), 0);
        assert_int_equal(nc_rope_sections(&s, section, k, &e), 0);
        assert_int_equal(s.axes, 3);
        assert_memory_equal(s.axis_of, k ? woven : in_order, sizeof woven);
        assert_int_equal(nc_rope_sections(&s, (int[]){ 4, 2, 1 }, k, &e), NC_EINVAL);
        assert_int_equal(nc_rope_sections(&s, (int[]){ 10, -4, 2 }, k, &e), NC_EINVAL);
    }
    nc_rope_spec plane;
    assert_int_equal(nc_rope_make_plane(&plane, 8, 1e4, &e), 0);
    assert_memory_equal(plane.axis_of, ((int[]){ 0, 0, 1, 1 }), 4 * sizeof(int));
    assert_memory_equal(&plane.inv_freq[0], &plane.inv_freq[2], 2 * sizeof(float));
    assert_int_equal(nc_rope_make_plane(&plane, 10, 1e4, &e), NC_EUNSUPPORTED);
}

static nc_model *qwen(const char *type)
{
    static const char format[] =
        "{\"model_type\": \"%s\", \"hidden_size\": 16, \"intermediate_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"vocab_size\": 100, \"image_token_id\": 90,"
        " \"video_token_id\": 91, \"rope_scaling\": {\"type\": \"mrope\", \"mrope_section\": [2, 1, 1]}, \"vision_config\": {\"depth\": 1, \"num_heads\": 2, \"patch_size\": 4, %s}}";
    bool second = !strcmp(type, "qwen2_vl");
    nc_arena *a = nc_arena_new();
    nc_json *config = NULL;
    nc_model *m = NULL;
    nc_error e = { 0 };
    char *text = nc_arena_printf(a, format, type, second ? "\"embed_dim\": 16, \"hidden_size\": 16" : "\"hidden_size\": 16, \"intermediate_size\": 8, \"out_hidden_size\": 16, "
                                 "\"tokens_per_second\": 2, \"window_size\": 16");
    if (nc_json_parse(a, nc_str_of(text), "config.json", &config, &e) < 0 || nc_model_new(config, &m, &e) < 0)
        fail_msg("%s", e.message);
    nc_arena_free(a);
    return m;
}

/* Two tokens, a picture of 2 x 3 merged units, a token, a video of 3 steps of 1 x 2, a token; and one that a model wrote. */
static void positions_of_pictures_and_videos(void **state)
{
    static const int32_t ids[] = { 1, 2, 90, 90, 90, 90, 90, 90, 3, 91, 91, 91, 91, 91, 91, 4 };
    static const int32_t want[2][16][3] = {
        { { 0, 0, 0 }, { 1, 1, 1 }, { 2, 2, 2 }, { 2, 2, 3 }, { 2, 2, 4 }, { 2, 3, 2 }, { 2, 3, 3 }, { 2, 3, 4 }, { 5, 5, 5 }, { 6, 6, 6 }, { 6, 6, 7 }, { 7, 6, 6 }, { 7, 6, 7 },
          { 8, 6, 6 }, { 8, 6, 7 }, { 8, 8, 8 } },
        { { 0, 0, 0 }, { 1, 1, 1 }, { 2, 2, 2 }, { 2, 2, 3 }, { 2, 2, 4 }, { 2, 3, 2 }, { 2, 3, 3 }, { 2, 3, 4 }, { 5, 5, 5 }, { 6, 6, 6 }, { 6, 6, 7 }, { 9, 6, 6 }, { 9, 6, 7 },
          { 13, 6, 6 }, { 13, 6, 7 }, { 8, 8, 8 } },                                   /* seconds 1.75 x 2 a second: 0, 3.5, 7, rounded down */
    };
    static const int shift[] = { 9 - 16, 14 - 16 };
    nc_media media[] = { { .kind = NC_MEDIA_IMAGE, .count = 1, .grid_height = 4, .grid_width = 6 },
                         { .kind = NC_MEDIA_VIDEO, .count = 3, .grid_height = 2, .grid_width = 4, .seconds_per_grid = 1.75f } };
    (void)state;
    for (int k = 0; k < 2; k++) {
        nc_model *m = qwen(k ? "qwen2_5_vl" : "qwen2_vl");
        nc_positions p;
        nc_error e = { 0 };
        if (m->family->positions(m, m->self, ids, 16, media, 2, &p, &e) < 0)
            fail_msg("%s", e.message);
        assert_int_equal(p.axes, 3);
        assert_memory_equal(p.table, want[k], sizeof want[k]);
        assert_int_equal(p.shift, shift[k]);

        /* A stretch out of the middle takes its rows from the table, one beyond the prompt the shift. */
        nc_batch *batch = nc_batch_new();
        nc_seq middle[] = { { .ids = ids + 8, .count = 1, .start = 8, .slot = -1, .positions = &p }, { .ids = ids, .count = 1, .start = 20, .slot = -1, .positions = &p } };
        assert_int_equal(nc_model_prepare(m, batch, middle, 2, &e), 0);
        const int32_t *rows = nc_batch_find(batch, "text.pos")->data;
        assert_memory_equal(rows, want[k][8], sizeof want[k][8]);
        assert_int_equal(rows[3], 20 + shift[k]);
        assert_int_equal(rows[5], 20 + shift[k]);
        nc_batch_free(batch);
        free(p.table);

        media[1].grid_width = 3;                                                      /* no multiple of the merge */
        assert_int_equal(m->family->positions(m, m->self, ids, 16, media, 2, &p, &e), NC_ESHAPE);
        assert_null(p.table);
        media[1].grid_width = 4;
        nc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sections_share_out_the_frequencies), cmocka_unit_test(positions_of_pictures_and_videos) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
