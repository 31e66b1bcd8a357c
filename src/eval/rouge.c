/* rouge.c - ROUGE (Lin 2004): coco-caption's ROUGE-L and Google's rouge_score package.
 *
 *   ROUGE-L  P = lcs / |h|, R = lcs / |r|;  coco: best P and best R over the references, (1 + b^2) P R / (R + b^2 P), b = 1.2
 *   ROUGE-n  common n-grams over those of the hypothesis and of the reference;  F1 = 2 P R / (P + R)
 *   ROUGE-Lsum  for every reference sentence the union of its LCS with each hypothesis sentence, no word counted more often than it occurs
 */
#include "eval/metrics.h"
#include "eval/ngrams.h"
#include "eval/porter.h"
#include <stdlib.h>
#include <string.h>

double nc_rouge_l_coco(const nc_segment *s)
{
    const double beta = 1.2;
    double precision = 0, recall = 0;
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(64);
    int32_t *h = nc_word_ids(a, vocabulary, s->hypothesis);
    for (int i = 0; i < s->count; i++) {
        nc_words r = s->references[i];
        double lcs = (double)nc_lcs(nc_word_ids(a, vocabulary, r), r.n, h, s->hypothesis.n);
        double p = s->hypothesis.n ? lcs / s->hypothesis.n : 0, q = r.n ? lcs / r.n : 0;
        precision = p > precision ? p : precision;
        recall = q > recall ? q : recall;
    }
    nc_map_free(vocabulary);
    nc_arena_free(a);
    return precision != 0 && recall != 0 ? (1 + beta * beta) * precision * recall / (recall + beta * beta * precision) : 0;
}

nc_words nc_rouge_words(nc_arena *a, nc_str text, bool stem)
{
    nc_str low = nc_lower(a, text);
    char *p = nc_arena_strndup(a, low.p, low.n);
    for (size_t i = 0; i < low.n; i++)
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9')))
            p[i] = ' ';
    nc_words w = nc_words_split(a, (nc_str){ p, low.n });
    for (int i = 0; stem && i < w.n; i++)
        if (w.at[i].n > 3)
            w.at[i] = nc_porter_stem(a, w.at[i]);
    return w;
}

static nc_rouge rates(double hits, double hypothesis, double reference)
{
    nc_rouge s = { hypothesis > 0 ? hits / hypothesis : 0, reference > 0 ? hits / reference : 0, 0 };
    if (s.precision + s.recall > 0)
        s.f1 = 2 * s.precision * s.recall / (s.precision + s.recall);
    return s;
}

nc_rouge nc_rouge_n(nc_words reference, nc_words hypothesis, int n)
{
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(64);
    nc_map *r = nc_gram_counts(nc_word_ids(a, vocabulary, reference), reference.n, n, n);
    nc_map *h = nc_gram_counts(nc_word_ids(a, vocabulary, hypothesis), hypothesis.n, n, n);
    int64_t hits = nc_gram_clipped(h, &r, 1, n), in_h = hypothesis.n - n + 1, in_r = reference.n - n + 1;
    nc_map_free(r);
    nc_map_free(h);
    nc_map_free(vocabulary);
    nc_arena_free(a);
    return rates((double)hits, (double)in_h, (double)in_r);
}

nc_rouge nc_rouge_l(nc_words reference, nc_words hypothesis)
{
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(64);
    int32_t *r = nc_word_ids(a, vocabulary, reference), *h = nc_word_ids(a, vocabulary, hypothesis);
    int64_t hits = nc_lcs(r, reference.n, h, hypothesis.n);
    nc_map_free(vocabulary);
    nc_arena_free(a);
    return rates((double)hits, hypothesis.n, reference.n);
}

/* Marks the words of r that lie on one LCS with h: the one a walk back from the end finds that prefers to go up on ties. */
static void mark_lcs(const int32_t *r, int n, const int32_t *h, int m, bool *marked)
{
    size_t width = (size_t)m + 1;
    int32_t *t = nc_xcalloc(((size_t)n + 1) * width, sizeof *t);
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            int32_t up = t[(size_t)(i - 1) * width + (size_t)j], left = t[(size_t)i * width + (size_t)j - 1];
            t[(size_t)i * width + (size_t)j] = r[i - 1] == h[j - 1] ? t[(size_t)(i - 1) * width + (size_t)j - 1] + 1 : up > left ? up : left;
        }
    for (int i = n, j = m; i > 0 && j > 0;) {
        if (r[i - 1] == h[j - 1]) {
            marked[i - 1] = true;
            i--;
            j--;
        } else if (t[(size_t)i * width + (size_t)j - 1] > t[(size_t)(i - 1) * width + (size_t)j])
            j--;
        else
            i--;
    }
    free(t);
}

nc_rouge nc_rouge_lsum(const nc_words *reference, int references, const nc_words *hypothesis, int hypotheses)
{
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(64);
    int32_t **r = NC_NEW_ARRAY(a, int32_t *, references + 1), **h = NC_NEW_ARRAY(a, int32_t *, hypotheses + 1);
    int64_t in_r = 0, in_h = 0, hits = 0;
    for (int i = 0; i < references; in_r += reference[i++].n)
        r[i] = nc_word_ids(a, vocabulary, reference[i]);
    for (int i = 0; i < hypotheses; in_h += hypothesis[i++].n)
        h[i] = nc_word_ids(a, vocabulary, hypothesis[i]);
    int *left_r = NC_NEW_ARRAY(a, int, nc_map_count(vocabulary) + 1), *left_h = NC_NEW_ARRAY(a, int, nc_map_count(vocabulary) + 1);
    for (int i = 0; i < references; i++)
        for (int k = 0; k < reference[i].n; k++)
            left_r[r[i][k]]++;
    for (int i = 0; i < hypotheses; i++)
        for (int k = 0; k < hypothesis[i].n; k++)
            left_h[h[i][k]]++;
    for (int i = 0; i < references; i++) {
        bool *marked = NC_NEW_ARRAY(a, bool, reference[i].n + 1);
        for (int j = 0; j < hypotheses; j++)
            mark_lcs(r[i], reference[i].n, h[j], hypothesis[j].n, marked);
        for (int k = 0; k < reference[i].n; k++)
            if (marked[k] && left_h[r[i][k]] > 0 && left_r[r[i][k]] > 0) {
                hits++;
                left_h[r[i][k]]--;
                left_r[r[i][k]]--;
            }
    }
    nc_map_free(vocabulary);
    nc_arena_free(a);
    return rates((double)hits, (double)in_h, (double)in_r);
}
