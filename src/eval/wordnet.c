/* wordnet.c - WordNet's database files: index lines give a lemma's synsets as byte offsets into the data file.
 *
 *   index:  lemma pos synsets pointers [symbol ...] senses tagged offset ...          data:  offset file type words(hex) word id word id ...
 *
 * Base forms: those of the exception list where the word has an entry, else one step of the rules of detachment; the word itself counts too.
 * Lines are kept where they lie in the file's text; every number read from them is checked against the text's length.
 */
#include "eval/wordnet.h"
#include "base/file.h"
#include "base/map.h"
#include <stdlib.h>
#include <string.h>

enum { NOUN, VERB, ADJ, ADV, PARTS };
static const char *const part_names[PARTS] = { "noun", "verb", "adj", "adv" };

struct part { nc_buf index, data, exceptions; nc_map *lemmas, *irregular; };   /* maps: word -> offset of its line */

struct nc_wordnet { struct part part[PARTS]; nc_arena *last; nc_map *last_lemmas; nc_buf last_word; };

#define FILE_LIMIT ((size_t)256 << 20)

static int read_part(struct part *p, nc_arena *a, const char *folder, const char *name, nc_error *e)
{
    NC_TRY(nc_file_read(nc_path_join(a, folder, nc_arena_printf(a, "index.%s", name)), FILE_LIMIT, &p->index, e));
    NC_TRY(nc_file_read(nc_path_join(a, folder, nc_arena_printf(a, "data.%s", name)), FILE_LIMIT, &p->data, e));
    NC_TRY(nc_file_read(nc_path_join(a, folder, nc_arena_printf(a, "%s.exc", name)), FILE_LIMIT, &p->exceptions, e));
    return 0;
}

/* Every line's first word with the line's offset. Lines that start with a space are the licence. */
static nc_map *first_words(const nc_buf *b)
{
    nc_map *m = nc_map_new(1024);
    for (size_t at = 0; at < b->n;) {
        const char *line = b->p + at, *end = memchr(line, '\n', b->n - at);
        size_t n = end ? (size_t)(end - line) : b->n - at, word = 0;
        while (word < n && line[word] != ' ')
            word++;
        if (word && !nc_map_get(m, (nc_str){ line, word }, NULL))
            nc_map_set(m, (nc_str){ line, word }, (int64_t)at);
        at += n + 1;
    }
    return m;
}

int nc_wordnet_load(const char *folder, nc_wordnet **out, nc_error *e)
{
    nc_wordnet *w = nc_xcalloc(1, sizeof *w);
    nc_arena *a = nc_arena_new();
    int code = 0;
    for (int i = 0; i < PARTS && code == 0; i++) {
        code = read_part(&w->part[i], a, folder, part_names[i], e);
        w->part[i].lemmas = first_words(&w->part[i].index);
        w->part[i].irregular = first_words(&w->part[i].exceptions);
    }
    nc_arena_free(a);
    if (code < 0) {
        nc_wordnet_free(w);
        w = NULL;
    }
    *out = w;
    return code;
}

void nc_wordnet_free(nc_wordnet *w)
{
    if (!w)
        return;
    for (int i = 0; i < PARTS; i++) {
        nc_buf_free(&w->part[i].index);
        nc_buf_free(&w->part[i].data);
        nc_buf_free(&w->part[i].exceptions);
        nc_map_free(w->part[i].lemmas);
        nc_map_free(w->part[i].irregular);
    }
    nc_arena_free(w->last);
    nc_map_free(w->last_lemmas);
    nc_buf_free(&w->last_word);
    free(w);
}

/* The words of the line at offset `at`; none when it lies outside. */
static nc_words line_at(nc_arena *a, const nc_buf *b, int64_t at)
{
    if (at < 0 || (uint64_t)at >= b->n)
        return (nc_words){ 0 };
    const char *line = b->p + at, *end = memchr(line, '\n', b->n - (size_t)at);
    return nc_words_split(a, (nc_str){ line, end ? (size_t)(end - line) : b->n - (size_t)at });
}

static int64_t number(nc_str s, int base)
{
    char text[24], *end;
    if (s.n == 0 || s.n >= sizeof text)
        return -1;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    int64_t v = strtoll(text, &end, base);
    return *end ? -1 : v;
}

/* The names of the synset at `offset`, without markers such as "(p)" and without those of several words. */
static void add_synset(nc_arena *a, const struct part *p, int64_t offset, nc_map *lemmas)
{
    nc_words w = line_at(a, &p->data, offset);
    int64_t n = w.n > 4 ? number(w.at[3], 16) : 0;
    for (int64_t i = 0; i < n && 4 + 2 * i < w.n; i++) {
        nc_str name = w.at[4 + 2 * i];
        const char *mark = memchr(name.p, '(', name.n);
        if (mark)
            name.n = (size_t)(mark - name.p);
        if (!memchr(name.p, '_', name.n))
            nc_map_set(lemmas, name, 1);
    }
}

static void add_form(nc_arena *a, const struct part *p, nc_str form, nc_map *done, nc_map *lemmas)
{
    int64_t at;
    if (!nc_map_set(done, form, 1) || !nc_map_get(p->lemmas, form, &at))
        return;
    nc_words w = line_at(a, &p->index, at);
    int64_t synsets = w.n > 3 ? number(w.at[2], 10) : 0;
    for (int64_t i = synsets > w.n ? w.n : synsets; i > 0; i--)        /* the offsets are the line's last words */
        add_synset(a, p, number(w.at[w.n - i], 10), lemmas);
}

static void add_detached(nc_arena *a, int part, const struct part *p, nc_str word, nc_map *done, nc_map *lemmas)
{
    static const struct { const char *cut, *add; int part; } rules[] = {
        { "s", "", NOUN }, { "ses", "s", NOUN }, { "ves", "f", NOUN }, { "xes", "x", NOUN }, { "zes", "z", NOUN }, { "ches", "ch", NOUN }, { "shes", "sh", NOUN },
        { "men", "man", NOUN }, { "ies", "y", NOUN }, { "s", "", VERB }, { "ies", "y", VERB }, { "es", "e", VERB }, { "es", "", VERB }, { "ed", "e", VERB },
        { "ed", "", VERB }, { "ing", "e", VERB }, { "ing", "", VERB }, { "er", "", ADJ }, { "est", "", ADJ }, { "er", "e", ADJ }, { "est", "e", ADJ },
    };
    const char *text = nc_arena_strndup(a, word.p, word.n);
    for (int i = 0; i < NC_COUNT(rules); i++)
        if (rules[i].part == part && nc_ends_with(text, rules[i].cut))
            add_form(a, p, nc_str_of(nc_arena_printf(a, "%.*s%s", (int)(word.n - strlen(rules[i].cut)), text, rules[i].add)), done, lemmas);
}

nc_words nc_wordnet_lemmas(nc_wordnet *w, nc_arena *a, nc_str word)
{
    nc_map *lemmas = nc_map_new(32);
    nc_arena *scratch = nc_arena_new();
    word = nc_lower(scratch, word);
    for (int i = 0; i < PARTS; i++) {
        const struct part *p = &w->part[i];
        nc_map *done = nc_map_new(16);
        int64_t at;
        add_form(scratch, p, word, done, lemmas);
        if (nc_map_get(p->irregular, word, &at)) {
            nc_words bases = line_at(scratch, &p->exceptions, at);
            for (int k = 1; k < bases.n; k++)
                add_form(scratch, p, bases.at[k], done, lemmas);
        } else
            add_detached(scratch, i, p, word, done, lemmas);
        nc_map_free(done);
    }
    nc_words out = { NC_NEW_ARRAY(a, nc_str, nc_map_count(lemmas) + 1), (int)nc_map_count(lemmas) };
    for (int i = 0; i < out.n; i++) {
        nc_str key = nc_map_key(lemmas, (size_t)i);
        out.at[i] = (nc_str){ nc_arena_strndup(a, key.p, key.n), key.n };
    }
    nc_map_free(lemmas);
    nc_arena_free(scratch);
    return out;
}

bool nc_wordnet_related(void *wordnet, nc_str word, nc_str other)
{
    nc_wordnet *w = wordnet;
    if (!w->last_lemmas || !nc_str_eq(word, (nc_str){ w->last_word.p, w->last_word.n })) {
        nc_arena_free(w->last);
        nc_map_free(w->last_lemmas);
        w->last = nc_arena_new();
        w->last_lemmas = nc_map_new(32);
        nc_buf_clear(&w->last_word);
        nc_buf_add(&w->last_word, word.p, word.n);
        nc_words lemmas = nc_wordnet_lemmas(w, w->last, word);
        for (int i = 0; i < lemmas.n; i++)
            nc_map_set(w->last_lemmas, lemmas.at[i], 1);
    }
    return nc_map_get(w->last_lemmas, other, NULL);
}
