/* train_wordlevel.c - the most frequent words, those of equal count by their bytes; special tokens first. */
#include <stdlib.h>
#include <string.h>

#include "text/train_parts.h"

struct counted { nc_str word; int64_t count; };

static int order(const void *x, const void *y)
{
    const struct counted *a = x, *b = y;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    int c = memcmp(a->word.p, b->word.p, a->word.n < b->word.n ? a->word.n : b->word.n);
    return c ? c : (a->word.n > b->word.n) - (a->word.n < b->word.n);
}

int nc_train_wordlevel(nc_trainer *t, nc_arena *a, nc_json **out, nc_error *e)
{
    const int64_t least = t->o.min_frequency > 0 ? t->o.min_frequency : t->o.min_frequency == 0 ? 2 : 0;
    const int32_t size = t->o.vocab_size > 0 ? t->o.vocab_size : 30000;
    size_t n = nc_map_count(t->words);
    struct counted *all = NC_NEW_ARRAY(t->arena, struct counted, n + 1);
    (void)e;
    for (size_t i = 0; i < n; i++) {
        nc_buf word = { 0 };
        nc_str raw = nc_map_key(t->words, i);
        for (size_t at = 0; at < raw.n;) {
            char text[4];
            nc_buf_add(&word, text, (size_t)nc_utf8_encode(nc_train_next(t, raw, &at), text));
        }
        all[i] = (struct counted){ { nc_arena_strndup(t->arena, word.p ? word.p : "", word.n), word.n }, nc_map_value(t->words, i) };
        nc_buf_free(&word);
    }
    qsort(all, n, sizeof *all, order);
    for (int i = 0; i < t->o.special_count; i++)
        nc_train_add(t, nc_str_of(t->o.special[i]));
    for (size_t i = 0; i < n && nc_vocab_size(t->vocab) < size && all[i].count >= least; i++)
        nc_train_add(t, all[i].word);
    nc_json *v = *out = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", nc_train_text(a, "WordLevel"));
    nc_json_set(a, v, "vocab", nc_train_vocab(t, a));
    nc_json_set(a, v, "unk_token", nc_train_text(a, t->o.unk));
    return NC_OK;
}
