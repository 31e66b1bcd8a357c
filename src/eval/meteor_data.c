/* meteor_data.c - the data files of METEOR 1.5 and WordNet's rules of detachment for finding base forms.
 *
 *   english.words      a function word a line
 *   english.prefixes   an abbreviation a line, "#NUMERIC_ONLY#" behind those that hold before numbers only; # starts a comment
 *   english.synsets    word, then its synset numbers;   english.exceptions  base form, then its irregular forms
 *   paraphrase-en.txt  probability, phrase, phrase
 */
#include "eval/meteor15.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)2 << 30)

static nc_str next_line(const char **at, const char *end)
{
    const char *start = *at, *stop = memchr(start, '\n', (size_t)(end - start));
    *at = stop ? stop + 1 : end;
    size_t n = (size_t)((stop ? stop : end) - start);
    if (n && start[n - 1] == '\r')
        n--;
    return (nc_str){ start, n };
}

/* The words of a line, split at spaces and tabs. */
static int line_words(nc_str line, nc_str *out, int most)
{
    int n = 0;
    for (size_t i = 0; i < line.n && n < most;) {
        size_t start = i;
        while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t')
            i++;
        if (i > start)
            out[n++] = (nc_str){ line.p + start, i - start };
        else
            i++;
    }
    return n;
}

#define MOST 4096                              /* words of a line that are read */

static struct nc_meteor_list *list_of(nc_meteor_data *d, nc_map *m, nc_str key)
{
    int64_t i;
    if (nc_map_get(m, key, &i))
        return &d->lists[i];
    if (d->list_count == d->list_capacity) {
        d->list_capacity = d->list_capacity ? d->list_capacity * 2 : 256;
        d->lists = nc_xrealloc(d->lists, sizeof *d->lists * (size_t)d->list_capacity);
    }
    nc_map_set(m, key, d->list_count);
    d->lists[d->list_count] = (struct nc_meteor_list){ 0 };
    return &d->lists[d->list_count++];
}

static void read_words(nc_meteor_data *d, const char *at, const char *end)
{
    while (at < end)
        nc_map_set(d->functions, next_line(&at, end), 1);
}

static void read_prefixes(nc_meteor_data *d, const char *at, const char *end)
{
    nc_str w[2];
    while (at < end) {
        int n = line_words(next_line(&at, end), w, 2);
        if (n && w[0].p[0] != '#')
            nc_map_set(d->prefixes, w[0], n > 1 && nc_str_eqz(w[1], "#NUMERIC_ONLY#") ? 2 : 1);
    }
}

static void read_synsets(nc_meteor_data *d, const char *at, const char *end)
{
    nc_str *w = nc_xmalloc(sizeof *w * MOST);
    while (at < end) {
        nc_str word = next_line(&at, end);
        int n = line_words(next_line(&at, end), w, MOST);
        int32_t *ids = NC_NEW_ARRAY(d->arena, int32_t, n + 1);
        for (int i = 0; i < n; i++)
            ids[i] = (int32_t)strtol(nc_arena_strndup(d->arena, w[i].p, w[i].n), NULL, 10);
        *list_of(d, d->synsets, word) = (struct nc_meteor_list){ ids, n };
    }
    free(w);
}

static void read_exceptions(nc_meteor_data *d, const char *at, const char *end)
{
    nc_str *w = nc_xmalloc(sizeof *w * MOST);
    while (at < end) {
        nc_str base = next_line(&at, end);
        base.p = nc_arena_strndup(d->arena, base.p, base.n);
        int n = line_words(next_line(&at, end), w, MOST);
        for (int i = 0; i < n; i++) {
            struct nc_meteor_list *l = list_of(d, d->bases, w[i]);
            nc_str *more = NC_NEW_ARRAY(d->arena, nc_str, l->n + 1);
            if (l->n)
                memcpy(more, l->items, sizeof *more * (size_t)l->n);
            more[l->n] = base;
            *l = (struct nc_meteor_list){ more, l->n + 1 };
        }
    }
    free(w);
}

static const int32_t *phrase_ids(nc_meteor_data *d, const nc_str *w, int n)
{
    int32_t *ids = NC_NEW_ARRAY(d->arena, int32_t, n + 1);
    for (int i = 0; i < n; i++) {
        int64_t id;
        if (!nc_map_get(d->vocabulary, w[i], &id)) {
            id = (int64_t)nc_map_count(d->vocabulary);
            nc_map_set(d->vocabulary, w[i], id);
        }
        ids[i] = (int32_t)id;
    }
    return ids;
}

static void read_paraphrases(nc_meteor_data *d, const char *at, const char *end)
{
    nc_str w[64];
    while (at < end) {
        next_line(&at, end);                   /* the probability is not used by the scorer */
        int n = line_words(next_line(&at, end), w, NC_COUNT(w));
        const int32_t *from = phrase_ids(d, w, n);
        int m = line_words(next_line(&at, end), w, NC_COUNT(w));
        if (n == 0 || m == 0)
            continue;
        if (d->phrase_count == d->phrase_capacity) {
            d->phrase_capacity = d->phrase_capacity ? d->phrase_capacity * 2 : 1024;
            d->phrase = nc_xrealloc(d->phrase, sizeof *d->phrase * (size_t)d->phrase_capacity);
            d->last = nc_xrealloc(d->last, sizeof *d->last * (size_t)d->phrase_capacity);
        }
        int64_t me = d->phrase_count++, first;
        d->phrase[me] = (struct nc_meteor_phrase){ phrase_ids(d, w, m), m, -1 };
        d->last[me] = me;
        nc_str key = { (const char *)from, sizeof *from * (size_t)n };
        if (nc_map_get(d->phrases, key, &first)) {
            d->phrase[d->last[first]].next = me;
            d->last[first] = me;
        } else
            nc_map_set(d->phrases, key, me);
        d->longest = n > d->longest ? n : d->longest;
    }
}

typedef void reader(nc_meteor_data *d, const char *at, const char *end);

static int read_file(nc_meteor_data *d, const char *folder, const char *name, reader *read, nc_error *e)
{
    char *path = nc_path_join(d->arena, folder, name);
    if (!nc_file_exists(path))
        path = nc_path_join(d->arena, nc_path_join(d->arena, folder, "synonym"), name);
    if (!nc_file_exists(path))
        return 0;
    nc_buf b = { 0 };
    int code = nc_file_read(path, FILE_LIMIT, &b, e);
    if (code == 0 && b.n)
        read(d, b.p, b.p + b.n);
    nc_buf_free(&b);
    return code;
}

int nc_meteor_data_load(const char *folder, nc_meteor_data **out, nc_error *e)
{
    static const struct { const char *name; reader *read; } files[] = {
        { "english.words", read_words }, { "english.prefixes", read_prefixes }, { "english.synsets", read_synsets },
        { "english.exceptions", read_exceptions }, { "paraphrase-en.txt", read_paraphrases },
    };
    *out = NULL;
    if (!nc_is_dir(folder))
        return nc_fail(e, NC_ENOTFOUND, "%s: no such folder of METEOR data", folder);
    nc_meteor_data *d = nc_xcalloc(1, sizeof *d);
    d->arena = nc_arena_new();
    nc_map **maps[] = { &d->functions, &d->prefixes, &d->synsets, &d->bases, &d->vocabulary, &d->phrases };
    for (int i = 0; i < NC_COUNT(maps); i++)
        *maps[i] = nc_map_new(64);
    int code = 0;
    for (int i = 0; i < NC_COUNT(files) && code == 0; i++)
        code = read_file(d, folder, files[i].name, files[i].read, e);
    if (code < 0)
        nc_meteor_data_free(d);
    else
        *out = d;
    return code;
}

void nc_meteor_data_free(nc_meteor_data *d)
{
    if (!d)
        return;
    nc_map *maps[] = { d->functions, d->prefixes, d->synsets, d->bases, d->vocabulary, d->phrases };
    for (int i = 0; i < NC_COUNT(maps); i++)
        nc_map_free(maps[i]);
    free(d->lists);
    free(d->phrase);
    free(d->last);
    nc_arena_free(d->arena);
    free(d);
}

struct ids { int32_t *at; int n, capacity; nc_arena *a; };

static bool add_synsets(const nc_meteor_data *d, nc_str word, struct ids *out)
{
    int64_t i;
    if (!nc_map_get(d->synsets, word, &i))
        return false;
    const struct nc_meteor_list *l = &d->lists[i];
    if (out->n + l->n > out->capacity) {
        out->capacity = 2 * (out->n + l->n);
        int32_t *more = NC_NEW_ARRAY(out->a, int32_t, out->capacity);
        if (out->n)
            memcpy(more, out->at, sizeof *more * (size_t)out->n);
        out->at = more;
    }
    if (l->n)
        memcpy(out->at + out->n, l->items, sizeof *out->at * (size_t)l->n);
    out->n += l->n;
    return true;
}

/* WordNet's rules of detachment: the first suffix whose replacement is a word of the dictionary. */
static void add_morphed(nc_arena *a, const nc_meteor_data *d, nc_str word, struct ids *out)
{
    static const char *const rules[][2] = {
        { "s", "" }, { "ses", "s" }, { "xes", "x" }, { "zes", "z" }, { "ches", "ch" }, { "shes", "sh" }, { "men", "man" }, { "ies", "y" },
        { "s", "" }, { "ies", "y" }, { "es", "e" }, { "es", "" }, { "ed", "e" }, { "ed", "" }, { "ing", "e" }, { "ing", "" },
        { "er", "" }, { "est", "" }, { "er", "e" }, { "est", "e" },
    };
    const char *w = nc_arena_strndup(a, word.p, word.n);
    if (nc_ends_with(w, "ss") || word.n <= 2)
        return;                                /* the word itself was looked up already */
    for (int i = 0; i < NC_COUNT(rules); i++) {
        if (!nc_ends_with(w, rules[i][0]))
            continue;
        const char *base = nc_arena_printf(a, "%.*s%s", (int)(word.n - strlen(rules[i][0])), w, rules[i][1]);
        if (!nc_map_get(d->synsets, nc_str_of(base), NULL))
            continue;
        add_synsets(d, nc_str_of(nc_ends_with(w, "ful") ? nc_arena_printf(a, "%sful", base) : base), out);
        return;
    }
}

int nc_meteor_synsets(nc_arena *a, const nc_meteor_data *d, nc_str word, const int32_t **out)
{
    struct ids ids = { .a = a };
    int64_t i;
    add_synsets(d, word, &ids);
    if (nc_map_get(d->bases, word, &i)) {
        const nc_str *bases = d->lists[i].items;
        for (int k = 0; k < d->lists[i].n; k++)
            add_synsets(d, bases[k], &ids);
    } else
        add_morphed(a, d, word, &ids);
    *out = ids.at;
    return ids.n;
}
