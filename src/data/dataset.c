/* dataset.c - which files, which columns, and the samples in them; what a record means is dataset_record.c's. */
#include "data/dataset_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"

enum { max_datasets = 256 };

struct loading { nc_dataset *d; const nc_dataset_options *o; int capacity; const nc_json *info; const char *info_path; };

static nc_sample *add_sample(struct loading *l)
{
    if (l->d->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 1024;
        l->d->samples = nc_xrealloc(l->d->samples, sizeof *l->d->samples * (size_t)l->capacity);
    }
    nc_sample *s = &l->d->samples[l->d->count++];
    *s = (nc_sample){ 0 };
    return s;
}

static int add_record(struct loading *l, const nc_columns *c, const nc_json *record, const char *file, int line, nc_error *e)
{
    nc_sample *s = add_sample(l);
    s->file = file;
    s->line = line;
    int status = nc_record_read(l->d->arena, c, record, s, e);
    if (status < 0)
        nc_fail_in(e, "%s:%d", file, line);
    return status;
}

/* One record a line; empty lines are passed over. */
static int read_lines(struct loading *l, const nc_columns *c, const char *file, nc_str text, int64_t most, bool json, nc_error *e)
{
    int line = 0;
    for (size_t at = 0; at < text.n && most > 0;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        nc_str s = { text.p + at, n };
        at += n + 1;
        line++;
        while (s.n && (s.p[s.n - 1] == '\r' || s.p[s.n - 1] == ' '))
            s.n--;
        if (!s.n)
            continue;
        most--;
        if (!json) {
            if (!nc_utf8_valid(s))
                return nc_fail(e, NC_EFORMAT, "%s:%d: not valid UTF-8", file, line);
            nc_sample *sample = add_sample(l);
            sample->text = (nc_str){ nc_arena_strndup(l->d->arena, s.p, s.n), s.n };
            sample->file = file;
            sample->line = line;
            continue;
        }
        nc_json *record = NULL;
        nc_error inner = { 0 };
        if (nc_json_parse(l->d->arena, s, file, &record, &inner) < 0)
            return nc_fail(e, inner.code, "%s:%d: %s", file, line, inner.message);
        NC_TRY(add_record(l, c, record, file, line, e));
    }
    return 0;
}

static int read_array(struct loading *l, const nc_columns *c, const char *file, nc_str text, int64_t most, nc_error *e)
{
    nc_json *list = NULL;
    NC_TRY(nc_json_parse(l->d->arena, text, file, &list, e));
    if (!nc_json_is(list, NC_JSON_ARRAY))
        return nc_fail(e, NC_EFORMAT, "%s: a dataset is a list of records, or one record a line", file);
    NC_JSON_EACH(record, list) {
        if (most-- <= 0)
            break;
        NC_TRY(add_record(l, c, record, file, record->line, e));
    }
    return 0;
}

static int read_file(struct loading *l, const nc_columns *c, const char *path, int64_t most, nc_error *e)
{
    nc_buf text = { 0 };
    const char *file = nc_arena_strdup(l->d->arena, path);
    NC_TRY(nc_file_read(path, l->o->max_bytes ? l->o->max_bytes : (size_t)4 << 30, &text, e));
    l->d->hash = nc_hash64(text.p ? text.p : "", text.n, l->d->hash);
    size_t first = 0;
    while (first < text.n && strchr(" \t\r\n", text.p[first]))
        first++;
    bool json = !nc_ends_with(path, ".txt"), array = json && first < text.n && text.p[first] == '[';
    nc_str s = { text.p ? text.p : "", text.n };
    int status = array ? read_array(l, c, file, s, most, e) : read_lines(l, c, file, s, most, json, e);
    nc_buf_free(&text);
    return status;
}

/* A folder of pictures: by the metadata.jsonl in it, else by the names of the folders in it. */
static int read_pictures(struct loading *l, nc_columns *c, const char *path, int64_t most, nc_error *e)
{
    nc_arena *a = l->d->arena;
    const char *metadata = nc_path_join(a, path, "metadata.jsonl");
    nc_labelled_file *file;
    int count;
    c->media_folder = path;
    if (nc_file_exists(metadata))
        return read_file(l, c, metadata, most, e);
    NC_TRY(nc_labelled_files(a, path, &file, &count, e));
    for (int i = 0; i < count && i < most; i++) {
        nc_json *record = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, record, c->image ? c->image : "image", nc_json_new_string(a, nc_str_of(file[i].path)));
        nc_json_set(a, record, c->label ? c->label : "label", nc_json_new_string(a, nc_str_of(file[i].label)));
        l->d->hash = nc_hash64(file[i].path, strlen(file[i].path), l->d->hash);
        NC_TRY(add_record(l, c, record, path, i + 1, e));
    }
    return count ? 0 : nc_fail(e, NC_EFORMAT, "%s holds neither a metadata.jsonl nor folders of pictures named after their labels", path);
}

static int unknown_dataset(const struct loading *l, const char *name, nc_error *e)
{
    const char *names[max_datasets];
    int n = 0;
    NC_JSON_EACH(d, l->info)
        if (n < max_datasets)
            names[n++] = d->key.p;
    const char *near = nc_nearest(name, names, n);
    return nc_fail(e, NC_ENOTFOUND, "dataset \"%s\" is neither a file nor listed in %s%s%s", name, l->info_path, near ? "; nearest is " : "", near ? near : "");
}

static int load_named(struct loading *l, const char *name, nc_error *e)
{
    nc_arena *a = l->d->arena;
    int64_t most = l->o->max_samples > 0 ? l->o->max_samples : INT64_MAX;
    const char *folder = l->o->folder ? l->o->folder : "data", *media = l->o->media_folder ? l->o->media_folder : NULL;
    const nc_json *entry = nc_json_get(l->info, name);
    nc_columns c;
    if (!entry) {
        const char *path = nc_file_exists(name) ? name : nc_path_join(a, folder, name);
        if (l->o->records == NC_RECORDS_LABELS && nc_is_dir(path)) {
            NC_TRY(nc_columns_read(a, NULL, name, l->o->records, &c, e));
            return read_pictures(l, &c, path, most, e);
        }
        bool is_data = nc_ends_with(name, ".json") || nc_ends_with(name, ".jsonl") || nc_ends_with(name, ".txt");
        if (!is_data || !nc_file_exists(path))
            return unknown_dataset(l, name, e);
        NC_TRY(nc_columns_read(a, NULL, name, l->o->records, &c, e));
        c.media_folder = media ? media : nc_path_dir(a, path);
        return read_file(l, &c, path, most, e);
    }
    NC_TRY(nc_columns_read(a, entry, name, l->o->records, &c, e));
    const char *file = nc_json_string(nc_json_get(entry, "file_name"), NULL);
    if (!file)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: dataset \"%s\" has no file_name; data are read from local files only", l->info_path, name);
    const char *path = nc_path_join(a, folder, file);
    c.media_folder = media ? media : folder;
    int64_t stated = nc_json_int(nc_json_get(entry, "num_samples"), 0);
    if (stated > 0 && stated < most)
        most = stated;
    if (!l->d->label_names)
        l->d->label_names = nc_json_get(entry, "label_names");
    if (!nc_is_dir(path))
        return read_file(l, &c, path, most, e);
    if (l->o->records == NC_RECORDS_LABELS)
        return read_pictures(l, &c, path, most, e);
    char **names;
    int count;
    NC_TRY(nc_list_dir(a, path, &names, &count, e));
    for (int i = 0; i < count; i++)
        NC_TRY(read_file(l, &c, nc_path_join(a, path, names[i]), most, e));
    return 0;
}

static int load_all(struct loading *l, const char *names, nc_error *e)
{
    nc_arena *a = l->d->arena;
    nc_json *info = NULL;
    l->info_path = nc_path_join(a, l->o->folder ? l->o->folder : "data", "dataset_info.json");
    if (nc_file_exists(l->info_path))
        NC_TRY(nc_json_load(a, l->info_path, &info, e));
    l->info = info;
    while (*names) {
        size_t n = strcspn(names, ",");
        const char *begin = names, *end = names + n;
        names += n + (names[n] == ',');
        while (begin < end && *begin == ' ')
            begin++;
        while (end > begin && end[-1] == ' ')
            end--;
        if (begin < end)
            NC_TRY(load_named(l, nc_arena_strndup(a, begin, (size_t)(end - begin)), e));
    }
    if (l->d->count == 0)
        return nc_fail(e, NC_EINVAL, "the dataset has no samples");
    return 0;
}

int nc_dataset_load(const char *names, const nc_dataset_options *o, nc_dataset **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_dataset *d = NC_NEW(a, nc_dataset);
    d->arena = a;
    struct loading l = { .d = d, .o = o };
    int status = load_all(&l, names, e);
    if (status < 0) {
        nc_dataset_free(d);
        return status;
    }
    *out = d;
    return 0;
}

void nc_dataset_free(nc_dataset *d)
{
    if (!d)
        return;
    free(d->samples);
    nc_arena_free(d->arena);
}

/* The last text of a role. */
static nc_str text_of(const nc_sample *s, const char *role, nc_str found)
{
    NC_JSON_EACH(m, s->messages) {
        const nc_json *content = nc_json_get(m, "content");
        if (strcmp(nc_json_string(nc_json_get(m, "role"), ""), role))
            continue;
        if (nc_json_is(content, NC_JSON_STRING))
            found = content->text;
        NC_JSON_EACH(part, nc_json_is(content, NC_JSON_ARRAY) ? content : NULL)
            if (nc_json_is(nc_json_get(part, "text"), NC_JSON_STRING))
                found = nc_json_get(part, "text")->text;
    }
    return found;
}

nc_str nc_sample_answer(const nc_sample *s) { return text_of(s, "assistant", s->text); }
nc_str nc_sample_question(const nc_sample *s) { return text_of(s, "user", (nc_str){ 0 }); }
