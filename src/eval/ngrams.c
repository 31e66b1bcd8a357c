/* ngrams.c - n-grams are keys of a hash map (the bytes of their word numbers), in order of first appearance. */
#include "eval/ngrams.h"
#include <stdlib.h>

int32_t *nc_word_ids(nc_arena *a, nc_map *vocabulary, nc_words w)
{
    int32_t *ids = NC_NEW_ARRAY(a, int32_t, w.n + 1);
    for (int i = 0; i < w.n; i++) {
        int64_t id;
        if (!nc_map_get(vocabulary, w.at[i], &id)) {
            id = (int64_t)nc_map_count(vocabulary);
            nc_map_set(vocabulary, w.at[i], id);
        }
        ids[i] = (int32_t)id;
    }
    return ids;
}

nc_map *nc_gram_counts(const int32_t *ids, int count, int from, int to)
{
    nc_map *m = nc_map_new((size_t)count * (size_t)(to - from + 1));
    for (int n = from; n <= to; n++)
        for (int i = 0; i + n <= count; i++)
            nc_map_set(m, nc_gram(ids + i, n), nc_gram_count(m, nc_gram(ids + i, n)) + 1);
    return m;
}

int64_t nc_gram_count(const nc_map *m, nc_str key)
{
    int64_t v;
    return nc_map_get(m, key, &v) ? v : 0;
}

int64_t nc_gram_clipped(const nc_map *hyp, nc_map *const *refs, int count, int order)
{
    int64_t sum = 0;
    for (size_t i = 0; i < nc_map_count(hyp); i++) {
        nc_str key = nc_map_key(hyp, i);
        int64_t own = nc_map_value(hyp, i), most = 0;
        if (nc_gram_order(key) != order)
            continue;
        for (int r = 0; r < count; r++) {
            int64_t c = nc_gram_count(refs[r], key);
            most = c > most ? c : most;
        }
        sum += own < most ? own : most;
    }
    return sum;
}

int64_t nc_lcs(const int32_t *a, int n, const int32_t *b, int m)
{
    int64_t *row = nc_xcalloc((size_t)m + 1, sizeof *row), result;
    for (int i = 0; i < n; i++) {
        int64_t diagonal = 0;
        for (int j = 0; j < m; j++) {
            int64_t above = row[j + 1];
            row[j + 1] = a[i] == b[j] ? diagonal + 1 : above > row[j] ? above : row[j];
            diagonal = above;
        }
    }
    result = row[m];
    free(row);
    return result;
}
