/* test_scenes.c - korean-scenes: same seed same bytes on any number of threads, splits share no combination, captions name their slots with the right
 * particles, the folder is whole.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/rng.h"
#include "data/scenes.h"
#include "media/video.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void particles(void **state)
{
    (void)state;
    static const struct { const char *word; nc_particle p; const char *want; } cases[] = {
        { "바다", NC_SUBJECT, "가" }, { "산", NC_SUBJECT, "이" }, { "논", NC_OBJECT, "을" },     { "바다", NC_OBJECT, "를" },   { "강변", NC_TOPIC, "은" },
        { "바다", NC_TOPIC, "는" },   { "탑", NC_TOWARDS, "으로" }, { "다리", NC_TOWARDS, "로" }, { "강물", NC_TOWARDS, "로" },  { "서울", NC_TOWARDS, "로" },
        { "대문", NC_TOWARDS, "으로" }, { "물", NC_SUBJECT, "이" }, { "연", NC_WITH, "과" },      { "배", NC_WITH, "와" },
    };
    for (int i = 0; i < NC_COUNT(cases); i++)
        assert_string_equal(nc_korean_particle(cases[i].word, cases[i].p), cases[i].want);
}

/* Every caption of every combination of one slot value names exactly its slots. */
static void captions_name_their_slots(void **state)
{
    (void)state;
    nc_rng r = nc_rng_new(1, 1);
    nc_buf b = { 0 };
    for (int i = 0; i < 4000; i++) {
        nc_scene_slots s = { (int)nc_rng_below(&r, nc_scene_places), (int)nc_rng_below(&r, nc_scene_times), (int)nc_rng_below(&r, nc_scene_weathers),
                             (int)nc_rng_below(&r, nc_scene_cameras), 0 }, got;
        for (uint64_t k = nc_rng_below(&r, 3); k; k--)
            s.objects |= 1u << nc_rng_below(&r, nc_scene_things);
        nc_buf_clear(&b);
        nc_scenes_caption(&s, 5, (uint64_t)i, &b);
        nc_scenes_slots(b.p, &got);
        if (nc_scenes_compare(&s, &got, NULL) != nc_scene_slot_count)
            fail_msg("slots not read back: %s", b.p);
        assert_true(nc_utf8_valid((nc_str){ b.p, b.n }) && b.p[b.n - 1] == '.' && !strstr(b.p, "  "));
    }
    nc_buf_free(&b);
    nc_scene_slots s, t;
    nc_scenes_slots("맑은 저녁 바다에서 배 한 척이 지나가고 공원에서 강아지가 뛰며 카메라는 고정되어 있다.", &s);
    assert_int_equal(s.place, -2);
    assert_int_equal(s.objects, 1 | 1 << 8);
    nc_scenes_slots("아무 말도 없다", &t);
    assert_int_equal(nc_scenes_compare(&t, &t, NULL), 1);        /* only the empty set of objects agrees */
}

struct sample { char folder[200]; };

static void make(char folder[200], const char *name, int threads, uint64_t seed)
{
    const char *tmp = getenv("TMPDIR");
    nc_error e = { 0 };
    snprintf(folder, 200, "%s/nunchi_scenes_%s_%d", tmp ? tmp : "/tmp", name, (int)getpid());
    nc_remove_tree(folder, NULL);
    if (nc_scenes_make(folder, 60, seed, &(nc_scenes_options){ .size = 48, .frames = 6, .threads = threads }, NULL, NULL, &e) < 0)
        fail_msg("%s", e.message);
}

static void same_file(const char *a, const char *b, const char *name)
{
    nc_buf x = { 0 }, y = { 0 };
    char path[300];
    snprintf(path, sizeof path, "%s/%s", a, name);
    assert_int_equal(nc_file_read(path, 1 << 26, &x, NULL), 0);
    snprintf(path, sizeof path, "%s/%s", b, name);
    assert_int_equal(nc_file_read(path, 1 << 26, &y, NULL), 0);
    assert_int_equal(x.n, y.n);
    assert_true(x.n > 0);
    assert_memory_equal(x.p, y.p, x.n);
    nc_buf_free(&x);
    nc_buf_free(&y);
}

static void same_bytes(void **state)
{
    (void)state;
    char a[200], b[200], c[200], name[64];
    make(a, "a", 1, 7);
    make(b, "b", 3, 7);
    make(c, "c", 2, 8);
    static const char *const names[] = { "train.jsonl", "val.jsonl", "test.jsonl", "references.jsonl", "captions.txt", "dataset_info.json", "scenes.json" };
    for (int i = 0; i < NC_COUNT(names); i++)
        same_file(a, b, names[i]);
    for (int i = 1; i <= 60; i++) {
        snprintf(name, sizeof name, "clips/%06d.mp4", i);
        same_file(a, b, name);
    }
    nc_buf x = { 0 }, y = { 0 };
    char path[300];
    snprintf(path, sizeof path, "%s/captions.txt", a);
    nc_file_read(path, 1 << 20, &x, NULL);
    snprintf(path, sizeof path, "%s/captions.txt", c);
    nc_file_read(path, 1 << 20, &y, NULL);
    assert_true(x.n != y.n || memcmp(x.p, y.p, x.n) != 0);
    nc_buf_free(&x);
    nc_buf_free(&y);
    nc_remove_tree(b, NULL);
    nc_remove_tree(c, NULL);

    /* The same call again does nothing; another one refuses the folder. */
    nc_error e = { 0 };
    nc_scenes_options o = { .size = 48, .frames = 6 };
    assert_int_equal(nc_scenes_make(a, 60, 7, &o, NULL, NULL, &e), 0);
    assert_int_equal(nc_scenes_make(a, 60, 9, &o, NULL, NULL, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "another folder"));
    nc_remove_tree(a, NULL);
}

static void splits_and_layout(void **state)
{
    (void)state;
    char folder[200], path[300];
    make(folder, "split", 2, 11);
    nc_arena *a = nc_arena_new();
    nc_map *seen = nc_map_new(64);
    nc_buf lines = { 0 };
    int counts[3] = { 0 };
    snprintf(path, sizeof path, "%s/references.jsonl", folder);
    assert_int_equal(nc_file_read(path, 1 << 24, &lines, NULL), 0);
    for (char *line = lines.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        nc_json *v;
        nc_error e;
        assert_int_equal(nc_json_parse(a, (nc_str){ line, (size_t)(end - line) }, path, &v, &e), 0);
        const char *split = nc_json_string(nc_json_get(v, "split"), "");
        const int s = strcmp(split, "train") == 0 ? 0 : strcmp(split, "val") == 0 ? 1 : 2;
        counts[s]++;
        nc_buf key = { 0 };
        nc_json_write(&key, nc_json_get(v, "slots"), 0);
        int64_t before;
        if (nc_map_get(seen, (nc_str){ key.p, key.n }, &before))
            assert_int_equal(before, s);
        nc_map_set(seen, (nc_str){ key.p, key.n }, s);
        nc_buf_free(&key);
        const nc_json *refs = nc_json_get(v, "references");
        assert_int_equal(refs->count, 3);
        assert_string_not_equal(refs->first->text.p, refs->first->next->text.p);
        nc_video *video;
        nc_video_info info;
        snprintf(path, sizeof path, "%s/%s", folder, nc_json_string(nc_json_get(v, "video"), ""));
        if (counts[0] + counts[1] + counts[2] <= 5) {
            assert_int_equal(nc_video_open(path, NULL, &video, &e), 0);
            nc_video_describe(video, &info);
            assert_int_equal(info.width, 48);
            assert_int_equal(info.frames, 6);
            nc_video_free(video);
        }
    }
    assert_int_equal(counts[0] + counts[1] + counts[2], 60);
    assert_in_range(counts[2], 6, 12);
    assert_in_range(counts[1], 3, 8);
    nc_buf_free(&lines);
    snprintf(path, sizeof path, "%s/train.jsonl", folder);
    assert_int_equal(nc_file_read(path, 1 << 24, &lines, NULL), 0);
    int n = 0;
    for (char *p = lines.p; (p = strchr(p, '\n')); p++)
        n++;
    assert_int_equal(n, 3 * counts[0]);
    nc_buf_free(&lines);
    nc_map_free(seen);
    nc_arena_free(a);
    nc_remove_tree(folder, NULL);
}

static void bad_options(void **state)
{
    (void)state;
    nc_error e;
    assert_int_equal(nc_scenes_make("/tmp/never", 0, 1, NULL, NULL, NULL, &e), NC_EINVAL);
    assert_int_equal(nc_scenes_make("/tmp/never", 3, 1, &(nc_scenes_options){ .size = 33 }, NULL, NULL, &e), NC_EINVAL);
    assert_int_equal(nc_scenes_make("/tmp/never", 3, 1, &(nc_scenes_options){ .captions = 4 }, NULL, NULL, &e), NC_EINVAL);
    assert_true(nc_scenes_make("/proc/never/x", 3, 1, NULL, NULL, NULL, &e) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(particles),  cmocka_unit_test(captions_name_their_slots), cmocka_unit_test(same_bytes),
        cmocka_unit_test(splits_and_layout), cmocka_unit_test(bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
