/* error_rates.c - word and character error rates: Levenshtein's alignment of a hypothesis to a reference (WER = (S + D + I) / N).
 * Among alignments of least cost the counts are those of the walk back from the end that takes a match or substitution first,
 * then a deletion, then an insertion. */
#include "eval/metrics.h"
#include "eval/ngrams.h"
#include <stdlib.h>

nc_edits nc_edit_counts(nc_words reference, nc_words hypothesis)
{
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(64);
    int n = reference.n, m = hypothesis.n;
    int32_t *r = nc_word_ids(a, vocabulary, reference), *h = nc_word_ids(a, vocabulary, hypothesis);
    size_t width = (size_t)m + 1;
    int32_t *t = nc_xcalloc(((size_t)n + 1) * width, sizeof *t);
    for (int i = 0; i <= n; i++)
        for (int j = 0; j <= m; j++) {
            int32_t *at = t + (size_t)i * width + j;
            if (i == 0 || j == 0) {
                *at = i + j;
                continue;
            }
            int32_t best = at[-(ptrdiff_t)width - 1] + (r[i - 1] != h[j - 1]), up = at[-(ptrdiff_t)width] + 1, left = at[-1] + 1;
            best = up < best ? up : best;
            *at = left < best ? left : best;
        }
    nc_edits e = { 0 };
    for (int i = n, j = m; i > 0 || j > 0;) {
        int32_t *at = t + (size_t)i * width + j;
        bool same = i > 0 && j > 0 && r[i - 1] == h[j - 1];
        if (i > 0 && j > 0 && *at == at[-(ptrdiff_t)width - 1] + !same) {
            same ? e.hits++ : e.substitutions++;
            i--;
            j--;
        } else if (i > 0 && *at == at[-(ptrdiff_t)width] + 1) {
            e.deletions++;
            i--;
        } else {
            e.insertions++;
            j--;
        }
    }
    free(t);
    nc_map_free(vocabulary);
    nc_arena_free(a);
    return e;
}

double nc_error_rate(nc_edits e)
{
    double wrong = (double)(e.substitutions + e.deletions + e.insertions), length = (double)(e.hits + e.substitutions + e.deletions);
    return length > 0 ? wrong / length : wrong > 0 ? 1 : 0;
}

nc_words nc_characters(nc_arena *a, nc_str s)
{
    nc_words w = { NC_NEW_ARRAY(a, nc_str, s.n + 1), 0 };
    for (size_t at = 0; at < s.n;) {
        size_t before = at;
        nc_next_char(s, &at);
        w.at[w.n++] = (nc_str){ s.p + before, at - before };
    }
    return w;
}
