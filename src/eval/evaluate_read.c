/* evaluate_read.c - the set and its references, joined by id. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/map.h"
#include "data/dataset.h"
#include "eval/evaluate_parts.h"

static int read_lines(nc_arena *a, const char *path, nc_json ***out, int *count, nc_error *e)
{
    nc_buf file = { 0 };
    int capacity = 0;
    *out = NULL;
    *count = 0;
    NC_TRY(nc_file_read(path, (size_t)1 << 30, &file, e));
    char *text = nc_arena_strndup(a, file.p ? file.p : "", file.n);
    nc_buf_free(&file);
    int line = 0, status = 0;
    nc_json **list = NULL;
    for (char *at = text, *end; *at && status == 0; at = end + (*end == '\n')) {
        end = strchr(at, '\n');
        end = end ? end : at + strlen(at);
        line++;
        if (strspn(at, " \t\r") >= (size_t)(end - at))
            continue;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            list = nc_xrealloc(list, sizeof *list * (size_t)capacity);
        }
        status = nc_json_parse(a, (nc_str){ at, (size_t)(end - at) }, path, &list[*count], e);
        if (status < 0)
            nc_fail_in(e, "line %d of the file", line);
        else
            list[*count]->line = line;
        *count += status == 0;
    }
    *out = status == 0 ? nc_arena_copy(a, list ? (void *)list : "", sizeof *list * (size_t)*count) : NULL;
    free(list);
    return status;
}

static int name_index(int slot, const char *name)
{
    for (int i = 0; name && nc_scene_name(slot, i); i++)
        if (!strcmp(nc_scene_name(slot, i), name))
            return i;
    return -1;
}

static void read_slots(const nc_json *j, nc_case *c)
{
    if (!nc_json_is(j, NC_JSON_OBJECT))
        return;
    c->has_slots = true;
    c->slots.place = name_index(0, nc_json_string(nc_json_get(j, "place"), NULL));
    c->slots.time = name_index(1, nc_json_string(nc_json_get(j, "time"), NULL));
    c->slots.weather = name_index(2, nc_json_string(nc_json_get(j, "weather"), NULL));
    c->slots.camera = name_index(4, nc_json_string(nc_json_get(j, "camera"), NULL));
    NC_JSON_EACH(thing, nc_json_get(j, "objects")) {
        int i = name_index(3, nc_json_string(thing, NULL));
        c->slots.objects |= i >= 0 ? 1u << i : 0;
    }
}

static void join(nc_arena *a, nc_case *c, const nc_json *j)
{
    const nc_json *list = nc_json_get(j, "references");
    c->references = NC_NEW_ARRAY(a, nc_str, (list ? list->count : 0) + 1);
    NC_JSON_EACH(item, list)
        if (nc_json_is(item, NC_JSON_STRING))
            c->references[c->reference_count++] = item->text;
    if (nc_json_is(nc_json_get(j, "ceiling"), NC_JSON_STRING))
        c->ceiling = nc_json_get(j, "ceiling")->text;
    read_slots(nc_json_get(j, "slots"), c);
}

static int read_references(const nc_evaluate_options *o, nc_cases *c, nc_error *e)
{
    nc_arena *a = c->arena;
    const char *path = o->references ? o->references : nc_path_join(a, nc_path_dir(a, o->data), "references.jsonl");
    nc_json **lines;
    int count;
    if (!o->references && !nc_file_exists(path))
        return 0;
    NC_TRY(read_lines(a, path, &lines, &count, e));
    nc_map *by_id = nc_map_new((size_t)count);
    for (int i = 0; i < count; i++)
        nc_map_set(by_id, nc_str_of(nc_json_string(nc_json_get(lines[i], "id"), "")), i);
    int status = 0;
    for (int i = 0; i < c->count && status == 0; i++) {
        int64_t at;
        if (nc_map_get(by_id, nc_str_of(c->at[i].id), &at))
            join(a, &c->at[i], lines[at]);
        else
            status = nc_fail(e, NC_ENOTFOUND, "%s has no references for id %s of %s", path, c->at[i].id, o->data);
    }
    nc_map_free(by_id);
    return status;
}

/* The messages without the answer at their end. */
static const nc_json *question(nc_arena *a, const nc_json *messages)
{
    nc_json *out = nc_json_new(a, NC_JSON_ARRAY);
    int left = messages->count;
    NC_JSON_EACH(m, messages) {
        left--;
        if (left == 0 && !strcmp(nc_json_string(nc_json_get(m, "role"), ""), "assistant"))
            break;
        nc_json_append(out, nc_json_clone(a, m));
    }
    return out;
}

static void take_sample(nc_arena *a, const nc_sample *s, const char *id, nc_case *c)
{
    nc_str answer = nc_sample_answer(s);
    c->id = id;
    c->messages = question(a, s->messages);
    c->media = NC_NEW_ARRAY(a, nc_attachment, s->media_count + 1);
    c->media_count = s->media_count;
    for (int i = 0; i < s->media_count; i++)
        c->media[i] = (nc_attachment){ .is_video = s->media[i].is_video, .name = nc_arena_strdup(a, s->media[i].path) };
    c->answer = (nc_str){ nc_arena_strndup(a, answer.p ? answer.p : "", answer.n), answer.n };
}

/* Ids stand in the file's own objects; the dataset keeps the lines. */
static const char *id_of(nc_arena *a, nc_json *const *lines, int count, const nc_sample *s, int index)
{
    for (int low = 0, high = count; low < high;) {
        int middle = (low + high) / 2;
        if (lines[middle]->line == s->line) {
            const nc_json *id = nc_json_get(lines[middle], "id");
            if (nc_json_is(id, NC_JSON_STRING) || nc_json_is(id, NC_JSON_NUMBER))
                return nc_arena_strndup(a, id->text.p, id->text.n);
            break;
        }
        if (lines[middle]->line < s->line)
            low = middle + 1;
        else
            high = middle;
    }
    return nc_arena_printf(a, "%d", index + 1);
}

int nc_cases_read(const nc_evaluate_options *o, nc_cases *out, nc_error *e)
{
    nc_arena *a = out->arena;
    nc_dataset *d = NULL;
    nc_json **lines = NULL;
    int count = 0;
    if (!nc_file_exists(o->data))
        return nc_fail(e, NC_ENOTFOUND, "%s: no such file; name a .json or .jsonl of samples", o->data);
    nc_dataset_options options = { .folder = nc_path_dir(a, o->data), .max_samples = o->max_samples };
    NC_TRY(nc_dataset_load(o->data, &options, &d, e));
    if (nc_ends_with(o->data, ".jsonl"))
        NC_TRY(read_lines(a, o->data, &lines, &count, e));
    out->at = NC_NEW_ARRAY(a, nc_case, d->count + 1);
    int status = 0;
    for (int i = 0; i < d->count && status == 0; i++) {
        if (!d->samples[i].messages || !d->samples[i].messages->count)
            status = nc_fail(e, NC_EFORMAT, "%s line %d: a sample without messages", o->data, d->samples[i].line);
        else
            take_sample(a, &d->samples[i], id_of(a, lines, count, &d->samples[i], i), &out->at[out->count++]);
    }
    nc_dataset_free(d);
    NC_TRY(status);
    if (!out->count)
        return nc_fail(e, NC_EFORMAT, "%s holds no samples", o->data);
    NC_TRY(read_references(o, out, e));
    for (int i = 0; i < out->count; i++)
        if (!out->at[i].reference_count && out->at[i].answer.n) {
            out->at[i].references = &out->at[i].answer;
            out->at[i].reference_count = 1;
        }
    return 0;
}
