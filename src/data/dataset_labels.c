/* dataset_labels.c - records of classifiers: a text or two, words or a picture, and a label; and pictures in folders named after their labels (datasets' imagefolder).
 *
 * Columns are those that dataset_info.json's entry names (text, text_pair, tokens, image, label), else the first of the names below that a record has: those of GLUE, NSMC,
 * KLUE, CoNLL and of datasets' own image sets.
 */
#include "data/dataset_record.h"

#include <string.h>

#include "base/file.h"

static const char *const texts[][2] = { { "text", "text_pair" }, { "sentence1", "sentence2" }, { "premise", "hypothesis" }, { "question1", "question2" }, { "question", "sentence" },
                                        { "sentence", NULL }, { "document", NULL }, { "review", NULL }, { "title", NULL } };
static const char *const words[] = { "tokens", "words" }, *const images[] = { "image", "file_name", "img", "images" };
static const char *const labels[] = { "label", "labels", "ner_tags", "pos_tags", "chunk_tags", "tags", "score" };
static const char *const endings[] = { ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm" };

void nc_columns_read_labels(nc_arena *a, const nc_json *entry, nc_columns *out)
{
    static const char *const keys[] = { "text", "text_pair", "tokens", "image", "label" };
    const char **const to[] = { &out->text, &out->pair, &out->words, &out->image, &out->label };
    const nc_json *columns = nc_json_get(entry, "columns");
    for (int i = 0; i < NC_COUNT(keys); i++) {
        const char *name = nc_json_string(nc_json_get(columns, keys[i]), NULL);
        *to[i] = name ? nc_arena_strdup(a, name) : NULL;
    }
}

static const nc_json *one_of(const nc_json *record, const char *named, const char *const *names, int n)
{
    if (named)
        return nc_json_get(record, named);
    for (int i = 0; i < n; i++) {
        const nc_json *v = nc_json_get(record, names[i]);
        if (v && v->type != NC_JSON_NULL)
            return v;
    }
    return NULL;
}

static int read_texts(const nc_columns *c, const nc_json *record, nc_sample *out, nc_error *e)
{
    const nc_json *first = c->text ? nc_json_get(record, c->text) : NULL, *second = c->pair ? nc_json_get(record, c->pair) : NULL;
    for (int i = 0; !c->text && !first && i < NC_COUNT(texts); i++) {
        first = nc_json_get(record, texts[i][0]);
        second = first && !c->pair && texts[i][1] ? nc_json_get(record, texts[i][1]) : second;
    }
    if (!nc_json_is(first, NC_JSON_STRING))
        return nc_fail(e, NC_EFORMAT, "the record has no text, words or picture: %s%s; name the columns in dataset_info.json", c->text ? "no string " : "none of text, sentence1, tokens, image ...",
                       c->text ? c->text : "");
    if (second && second->type != NC_JSON_STRING && second->type != NC_JSON_NULL)
        return nc_fail(e, NC_EFORMAT, "the second text \"%s\" must be a string", second->key.p);
    out->text = first->text;
    out->pair = nc_json_is(second, NC_JSON_STRING) ? second->text : (nc_str){ 0 };
    return 0;
}

static int read_words(const nc_json *list, nc_sample *out, nc_error *e)
{
    NC_JSON_EACH(w, list)
        if (w->type != NC_JSON_STRING)
            return nc_fail(e, NC_EFORMAT, "\"%s\" must be a list of strings", list->key.p);
    if (out->label && (!nc_json_is(out->label, NC_JSON_ARRAY) || out->label->count != list->count))
        return nc_fail(e, NC_EFORMAT, "\"%s\" has %d labels for %d words", out->label->key.p, out->label->count, list->count);
    out->words = list;
    return 0;
}

/* A path, or what datasets writes of a picture that was not embedded: {"path": ...}. */
static int read_image(nc_arena *a, const nc_columns *c, const nc_json *image, nc_sample *out, nc_error *e)
{
    const nc_json *path = nc_json_is(image, NC_JSON_ARRAY) && image->count == 1 ? image->first : image;
    path = nc_json_is(path, NC_JSON_OBJECT) ? nc_json_get(path, "path") : path;
    if (!nc_json_is(path, NC_JSON_STRING))
        return nc_fail(e, NC_EFORMAT, "\"%s\" must be the path of one picture", image->key.p);
    nc_sample_media *media = NC_NEW(a, nc_sample_media);
    media->path = nc_path_join(a, c->media_folder, path->text.p);
    out->media = media;
    out->media_count = 1;
    return 0;
}

int nc_record_read_labels(nc_arena *a, const nc_columns *c, const nc_json *record, nc_sample *out, nc_error *e)
{
    const nc_json *list = one_of(record, c->words, words, NC_COUNT(words)), *image = one_of(record, c->image, images, NC_COUNT(images));
    out->label = one_of(record, c->label, labels, NC_COUNT(labels));
    if (nc_json_is(list, NC_JSON_ARRAY) && !c->text)
        return read_words(list, out, e);
    if (image && !c->text)
        return read_image(a, c, image, out, e);
    return read_texts(c, record, out, e);
}

static bool is_picture(const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < NC_COUNT(endings); i++) {
        size_t k = strlen(endings[i]), j = 0;
        while (n > k && j < k && (name[n - k + j] | 0x20) == (endings[i][j] | 0x20))
            j++;
        if (n > k && j == k)
            return true;
    }
    return false;
}

int nc_labelled_files(nc_arena *a, const char *folder, nc_labelled_file **out, int *count, nc_error *e)
{
    char **label, **name;
    int labels_found, n = 0, capacity = 0, files;
    *out = NULL;
    *count = 0;
    NC_TRY(nc_list_dir(a, folder, &label, &labels_found, e));
    for (int i = 0; i < labels_found; i++) {
        const char *inside = nc_path_join(a, folder, label[i]);
        if (!nc_is_dir(inside))
            continue;
        NC_TRY(nc_list_dir(a, inside, &name, &files, e));
        if (n + files > capacity) {
            capacity = 2 * (n + files);
            nc_labelled_file *more = NC_NEW_ARRAY(a, nc_labelled_file, capacity);
            if (n)
                memcpy(more, *out, sizeof *more * (size_t)n);
            *out = more;
        }
        for (int k = 0; k < files; k++)
            if (is_picture(name[k]))
                (*out)[n++] = (nc_labelled_file){ nc_path_join(a, label[i], name[k]), label[i] };
    }
    *count = n;
    return 0;
}
