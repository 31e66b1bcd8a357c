/* cider.c - CIDEr-D and CIDEr (Vedantam, Zitnick, Parikh, CVPR 2015) as coco-caption computes them.
 *
 *   g_n(c) = tf(w) (log |segments| - log max(1, df(w)))  for every n-gram w, n = 1..4;  df: segments whose references hold w
 *   CIDEr-D = 10/(4 R) sum_r sum_n  exp(-(l_h - l_r)^2 / (2 6^2)) sum_w min(g_h, g_r) g_r / (|g_h| |g_r|)
 *
 * The length l is the number of bigrams, as the tool has it. Plain CIDEr drops the clipping and the Gaussian.
 */
#include "eval/metrics.h"
#include "eval/ngrams.h"
#include <math.h>
#include <stdlib.h>

struct vector { nc_map *counts; double *weight, norm[4], length; };

static struct vector weigh(nc_arena *a, nc_map *counts, const nc_map *documents, double log_segments)
{
    struct vector v = { .counts = counts, .weight = NC_NEW_ARRAY(a, double, nc_map_count(counts) + 1) };
    for (size_t i = 0; i < nc_map_count(counts); i++) {
        nc_str key = nc_map_key(counts, i);
        double times = (double)nc_map_value(counts, i), df = (double)nc_gram_count(documents, key);
        int n = nc_gram_order(key) - 1;
        v.weight[i] = times * (log_segments - log(df > 1 ? df : 1));
        v.norm[n] += v.weight[i] * v.weight[i];
        if (n == 1)
            v.length += times;
    }
    for (int n = 0; n < 4; n++)
        v.norm[n] = sqrt(v.norm[n]);
    return v;
}

/* The mean over n of the similarity; weights of the reference are found by its own map's order. */
static double similarity(const struct vector *h, const struct vector *r, const nc_map *place, bool plain)
{
    double value[4] = { 0 }, delta = h->length - r->length, sum = 0;
    for (size_t i = 0; i < nc_map_count(h->counts); i++) {
        nc_str key = nc_map_key(h->counts, i);
        int64_t at;
        if (!nc_map_get(place, key, &at))
            continue;
        double g = h->weight[i], w = r->weight[at];
        value[nc_gram_order(key) - 1] += (plain || g < w ? g : w) * w;
    }
    for (int n = 0; n < 4; n++) {
        if (h->norm[n] != 0 && r->norm[n] != 0)
            value[n] /= h->norm[n] * r->norm[n];
        if (!plain)
            value[n] *= exp(-(delta * delta) / 72);
        sum += value[n];
    }
    return sum / 4;
}

static nc_map *places(const nc_map *counts)
{
    nc_map *m = nc_map_new(nc_map_count(counts));
    for (size_t i = 0; i < nc_map_count(counts); i++)
        nc_map_set(m, nc_map_key(counts, i), (int64_t)i);
    return m;
}

static double score_segment(nc_map *hyp, nc_map **refs, int count, const nc_map *documents, double log_segments, bool plain)
{
    nc_arena *a = nc_arena_new();
    struct vector h = weigh(a, hyp, documents, log_segments);
    double sum = 0;
    for (int r = 0; r < count; r++) {
        struct vector v = weigh(a, refs[r], documents, log_segments);
        nc_map *place = places(refs[r]);
        sum += similarity(&h, &v, place, plain);
        nc_map_free(place);
    }
    nc_arena_free(a);
    return count ? sum / count * 10 : 0;
}

/* Adds 1 for every n-gram that some reference of the segment holds. */
static void count_documents(nc_map *documents, nc_map **refs, int count)
{
    nc_map *seen = nc_map_new(64);
    for (int r = 0; r < count; r++)
        for (size_t i = 0; i < nc_map_count(refs[r]); i++)
            if (nc_map_set(seen, nc_map_key(refs[r], i), 1))
                nc_map_set(documents, nc_map_key(refs[r], i), nc_gram_count(documents, nc_map_key(refs[r], i)) + 1);
    nc_map_free(seen);
}

double nc_cider(const nc_segment *s, int n, bool plain, double *segments)
{
    if (n <= 0)
        return 0;
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(1024), *documents = nc_map_new(4096), **hyp = NC_NEW_ARRAY(a, nc_map *, n), ***refs = NC_NEW_ARRAY(a, nc_map **, n);
    for (int i = 0; i < n; i++) {
        hyp[i] = nc_gram_counts(nc_word_ids(a, vocabulary, s[i].hypothesis), s[i].hypothesis.n, 1, 4);
        refs[i] = NC_NEW_ARRAY(a, nc_map *, s[i].count + 1);
        for (int r = 0; r < s[i].count; r++)
            refs[i][r] = nc_gram_counts(nc_word_ids(a, vocabulary, s[i].references[r]), s[i].references[r].n, 1, 4);
        count_documents(documents, refs[i], s[i].count);
    }
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double v = score_segment(hyp[i], refs[i], s[i].count, documents, log((double)n), plain);
        sum += v;
        if (segments)
            segments[i] = v;
    }
    for (int i = 0; i < n; i++) {
        nc_map_free(hyp[i]);
        for (int r = 0; r < s[i].count; r++)
            nc_map_free(refs[i][r]);
    }
    nc_map_free(vocabulary);
    nc_map_free(documents);
    nc_arena_free(a);
    return sum / n;
}
