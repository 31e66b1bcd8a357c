/* Datasets in LLaMA-Factory's layouts: what is read, and what a mistake's message names; packing as a pure function of seed and epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "data/dataset.h"
#include "data/pack.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/nunchi-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    nc_error e = { 0 };
    (void)state;
    return nc_remove_tree(folder, &e);
}

static void put(const char *name, const char *text)
{
    char path[200];
    nc_error e = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(nc_file_write(path, text, strlen(text), &e), 0);
}

static nc_dataset *load(const char *names, bool plain)
{
    nc_dataset *d = NULL;
    nc_error e = { 0 };
    nc_dataset_options o = { .folder = folder, .records = plain ? NC_RECORDS_TEXT : NC_RECORDS_CHAT };
    if (nc_dataset_load(names, &o, &d, &e) < 0)
        fail_msg("%s", e.message);
    return d;
}

static void fails(const char *names, const char *words)
{
    nc_dataset *d = NULL;
    nc_error e = { 0 };
    nc_dataset_options o = { .folder = folder };
    assert_true(nc_dataset_load(names, &o, &d, &e) < 0);
    if (!strstr(e.message, words))
        fail_msg("\"%s\" does not say \"%s\"", e.message, words);
}

static const char *text_of(const nc_sample *s, int turn)
{
    return nc_json_string(nc_json_get(nc_json_at(s->messages, turn), "content"), "?");
}

static void reads_alpaca(void **state)
{
    (void)state;
    put("a.json", "[{\"instruction\": \"더해\", \"input\": \"1 2\", \"output\": \"3\", \"system\": \"셈\", \"history\": [[\"q\", \"r\"]]}]");
    nc_dataset *d = load("a.json", false);
    assert_int_equal(d->count, 1);
    assert_int_equal(d->samples[0].messages->count, 5);
    assert_string_equal(text_of(&d->samples[0], 0), "셈");
    assert_string_equal(text_of(&d->samples[0], 3), "더해\n1 2");
    assert_string_equal(text_of(&d->samples[0], 4), "3");
    nc_dataset_free(d);
}

static void reads_sharegpt_with_media(void **state)
{
    (void)state;
    put("dataset_info.json", "{\"v\": {\"file_name\": \"v.jsonl\", \"formatting\": \"sharegpt\", \"columns\": {\"messages\": \"conversations\", \"videos\": \"videos\"}}}");
    put("v.jsonl", "\n{\"conversations\": [{\"from\": \"human\", \"value\": \"<video>\\n무엇?\"}, {\"from\": \"gpt\", \"value\": \"바다\"}], \"videos\": [\"x.mp4\"]}\n");
    nc_dataset *d = load("v", false);
    const nc_sample *s = &d->samples[0];
    const nc_json *content = nc_json_get(nc_json_at(s->messages, 0), "content");
    assert_int_equal(s->line, 2);
    assert_int_equal(s->media_count, 1);
    assert_true(s->media[0].is_video);
    assert_true(nc_ends_with(s->media[0].path, "/x.mp4"));
    assert_int_equal(content->count, 2);
    assert_string_equal(nc_json_string(nc_json_get(content->first, "type"), ""), "video");
    assert_string_equal(nc_json_string(nc_json_get(content->first->next, "text"), ""), "무엇?");
    assert_true(nc_str_eqz(nc_sample_answer(s), "바다"));
    nc_dataset_free(d);
}

static void reads_plain_text(void **state)
{
    (void)state;
    put("t.txt", "하나\r\n\n둘\n");
    nc_dataset *d = load("t.txt", true);
    assert_int_equal(d->count, 2);
    assert_true(nc_str_eqz(d->samples[1].text, "둘"));
    assert_int_equal(d->samples[1].line, 3);
    nc_dataset_free(d);
}

static void names_what_is_wrong(void **state)
{
    (void)state;
    put("dataset_info.json", "{\"scenes\": {\"file_name\": \"s.jsonl\", \"formatting\": \"sharegpt\"}}");
    fails("scenez", "nearest is scenes");
    put("s.jsonl", "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}]}\n");
    fails("scenes", "s.jsonl:1: no turn is the assistant's");
    put("s.jsonl", "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}\n{\"conversations\": 3}\n");
    fails("scenes", "s.jsonl:2: the record has no list");
    put("s.jsonl", "{\"conversations\": [{\"from\": \"human\", \"value\": \"<image>\"}, {\"from\": \"gpt\", \"value\": \"b\"}], \"images\": []}\n");
    fails("scenes", "more <image> than");
    put("s.jsonl", "{\"conversations\": [{\"from\": \"alien\", \"value\": \"a\"}]}\n");
    fails("scenes", "\"alien\"");
    put("s.jsonl", "{\"conversations\"\n");
    fails("scenes", "s.jsonl:1");
    put("e.jsonl", "\n\n");
    fails("e.jsonl", "no samples");
}

static void packs_whole_samples(void **state)
{
    enum { n = 57, room = 40 };
    int sizes[n], seen[n] = { 0 };
    nc_epoch x = { 0 }, again = { 0 }, other = { 0 };
    nc_pack_options o = { .tokens = room, .shuffle = true, .seed = 3 };
    (void)state;
    for (int i = 0; i < n; i++)
        sizes[i] = 1 + i * 7 % 40;
    nc_epoch_make(&o, 2, sizes, n, &x);
    nc_epoch_make(&o, 2, sizes, n, &again);
    nc_epoch_make(&o, 3, sizes, n, &other);
    for (int b = 0; b < x.batches; b++) {
        int held = 0;
        for (int i = x.begin[b]; i < x.begin[b + 1]; i++)
            held += sizes[x.order[i]], seen[x.order[i]]++;
        assert_true(held > 0 && held <= room);
    }
    for (int i = 0; i < n; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(x.begin[x.batches], n);
    assert_memory_equal(x.order, again.order, sizeof *x.order * n);
    assert_memory_not_equal(x.order, other.order, sizeof *x.order * n);
    o = (nc_pack_options){ .batch = 8, .exact = true };
    nc_epoch_make(&o, 0, sizes, n, &x);
    assert_int_equal(x.batches, 7);
    o.exact = false;
    nc_epoch_make(&o, 0, sizes, n, &x);
    assert_int_equal(x.batches, 8);
    nc_epoch_free(&x);
    nc_epoch_free(&again);
    nc_epoch_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_alpaca), cmocka_unit_test(reads_sharegpt_with_media), cmocka_unit_test(reads_plain_text), cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(packs_whole_samples),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
