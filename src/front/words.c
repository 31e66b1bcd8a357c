/* words.c - see words.h. */
#include "front/words.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const nc_wording *const wordings[] = {
#define NC_WORDING(name) &nc_wording_##name,
#include "front/words.list"
#undef NC_WORDING
};

const nc_wording *nc_wording_find(const char *processor)
{
    for (int i = 0; processor && i < NC_COUNT(wordings); i++)
        if (!strcmp(wordings[i]->processor, processor))
            return wordings[i];
    return NULL;
}

const char *nc_processor_name(nc_arena *a, const char *folder)
{
    static const char *const files[] = { "processor_config.json", "preprocessor_config.json", "tokenizer_config.json" };
    for (int i = 0; i < NC_COUNT(files); i++) {
        nc_json *v = NULL;
        nc_error ignored = { 0 };
        const char *path = nc_path_join(a, folder, files[i]);
        const char *name = nc_file_exists(path) && nc_json_load(a, path, &v, &ignored) == 0 ? nc_json_string(nc_json_get(v, "processor_class"), NULL) : NULL;
        if (name)
            return name;
    }
    return NULL;
}

int32_t nc_processor_end(const char *processor, const nc_tokenizer *t)
{
    const nc_wording *x = nc_wording_find(processor);
    return x && x->end ? nc_tokenizer_id(t, nc_str_of(x->end)) : -1;
}

void nc_words_run(nc_words *w, bool is_video, int rows)
{
    if (w->runs == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 16;
        w->run = nc_xrealloc(w->run, sizeof *w->run * (size_t)w->capacity);
    }
    nc_buf_adds(&w->text, w->spelling[is_video]);
    w->run[w->runs++] = rows;
}

static size_t starts(nc_str text, size_t at, const char *spelling)
{
    size_t n = strlen(spelling);
    return n && text.n - at >= n && !memcmp(text.p + at, spelling, n) ? n : 0;
}

static void move(size_t *place, size_t from, size_t at, size_t old, size_t new)
{
    if (from > at)
        *place = *place - old + new;
}

int nc_words_write(const nc_wording *x, nc_str text, const nc_visual *const *media, const int *rows, int count, nc_template_spans *spans, nc_words *out, nc_error *e)
{
    int medium = 0;
    nc_template_span *before = nc_xmalloc(sizeof *before * (spans->n + 1));
    for (size_t i = 0; i < spans->n; i++)
        before[i] = spans->p[i];
    for (size_t at = 0; at < text.n;) {
        size_t n = starts(text, at, out->spelling[0]), begin = out->text.n;
        n = n ? n : starts(text, at, out->spelling[1]);
        if (!n) {
            nc_buf_add(&out->text, text.p + at++, 1);
            continue;
        }
        if (medium < count)
            x->write(out, media[medium], rows[medium]);
        medium++;
        for (size_t i = 0; i < spans->n; i++) {
            move(&spans->p[i].begin, before[i].begin, at, n, out->text.n - begin);
            move(&spans->p[i].end, before[i].end, at, n, out->text.n - begin);
        }
        at += n;
    }
    free(before);
    if (medium != count)
        return nc_fail(e, NC_EINVAL, "%d media are given, but the messages as rendered by the chat template have %d placeholders (%s, %s)", count, medium, out->spelling[0],
                       out->spelling[1]);
    return 0;
}
