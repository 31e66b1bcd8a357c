/* bleu.c - BLEU (Papineni et al. 2002) as coco-caption and as NLTK compute it.
 *
 *   p_n = clipped matches / n-grams,  BP = exp(1 - r/c) when c < r,  BLEU-N = BP exp(mean log p_n)
 *
 * coco adds 1e-15 to matches and 1e-9 to counts, so that no match gives a tiny value and not 0. NLTK's smoothings are methods 0 to 7
 * of Chen and Cherry, WMT 2014, in the form its SmoothingFunction has them.
 */
#include "eval/metrics.h"
#include "eval/ngrams.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

/* What one segment contributes. */
struct counts { int64_t correct[5], total[5]; double length; int64_t reference_length[3]; double average; };

static void count_segment(const nc_segment *s, int orders, struct counts *c)
{
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(64), **refs = nc_xcalloc((size_t)s->count + 1, sizeof *refs);
    nc_map *hyp = nc_gram_counts(nc_word_ids(a, vocabulary, s->hypothesis), s->hypothesis.n, 1, orders);
    int64_t h = s->hypothesis.n, closest = 0, shortest = 0, sum = 0;
    for (int i = 0; i < s->count; i++) {
        int64_t n = s->references[i].n, near = llabs(closest - h), far = llabs(n - h);
        refs[i] = nc_gram_counts(nc_word_ids(a, vocabulary, s->references[i]), (int)n, 1, orders);
        if (i == 0 || far < near || (far == near && n < closest))
            closest = n;
        shortest = i == 0 || n < shortest ? n : shortest;
        sum += n;
    }
    *c = (struct counts){ .length = (double)h, .reference_length = { closest, shortest }, .average = s->count ? (double)sum / s->count : 0 };
    for (int k = 0; k < orders; k++) {
        c->correct[k] = nc_gram_clipped(hyp, refs, s->count, k + 1);
        c->total[k] = h - k > 0 ? h - k : 0;
    }
    for (int i = 0; i < s->count; i++)
        nc_map_free(refs[i]);
    free(refs);
    nc_map_free(hyp);
    nc_map_free(vocabulary);
    nc_arena_free(a);
}

/* BLEU-1 to 4 from counts; out[k] at stride. */
static void coco_score(const double correct[4], const double total[4], double length, double reference, double *out, int stride)
{
    const double small = 1e-9, tiny = 1e-15;
    double product = 1, ratio = (length + tiny) / (reference + small);
    for (int k = 0; k < 4; k++) {
        product *= (correct[k] + tiny) / (total[k] + small);
        out[k * stride] = pow(product, 1.0 / (k + 1));
        if (ratio < 1)
            out[k * stride] *= exp(1 - 1 / ratio);
    }
}

void nc_bleu_coco(const nc_segment *s, int n, nc_bleu_length kind, double corpus[4], double *segments)
{
    double correct[4] = { 0 }, total[4] = { 0 }, length = 0, reference = 0;
    for (int i = 0; i < n; i++) {
        struct counts c;
        count_segment(&s[i], 4, &c);
        double r = kind == NC_BLEU_AVERAGE ? c.average : (double)c.reference_length[kind], own[4], all[4];
        for (int k = 0; k < 4; k++) {
            correct[k] += own[k] = (double)c.correct[k];
            total[k] += all[k] = (double)c.total[k];
        }
        length += c.length;
        reference += r;
        if (segments)
            coco_score(own, all, c.length, r, segments + i, n);
    }
    coco_score(correct, total, length, reference, corpus, 1);
}

/* p[k] = numerator / denominator until a method turns them into plain values. */
struct precision { double p[NC_BLEU_MAX + 1]; int64_t correct[NC_BLEU_MAX + 1], total[NC_BLEU_MAX + 1]; int order; int64_t length; };

static void smooth4(struct precision *s)
{
    int step = 1;
    for (int i = 0; i < s->order; i++)
        if (s->correct[i] == 0 && s->length > 1)
            s->p[i] = 1 / (pow(2, step++) * 5 / log((double)s->length)) / (double)s->total[i];
}

static void smooth5(struct precision *s)
{
    double before = s->p[0] + 1, following;
    for (int i = 0; i < s->order; i++) {
        following = i + 1 < s->order ? s->p[i + 1] : (double)s->correct[s->order] / (double)s->total[s->order];
        before = s->p[i] = (before + s->p[i] + following) / 3;
    }
}

static int smooth(struct precision *s, int method, int64_t last_length, nc_error *e)
{
    int step = 1;
    for (int i = 0; i < s->order && method <= 3; i++) {
        bool none = s->correct[i] == 0;
        if (method == 0 && none)
            s->p[i] = DBL_MIN;
        if (method == 1 && none)
            s->p[i] = 0.1 / (double)s->total[i];
        if (method == 2 && i > 0)
            s->p[i] = ((double)s->correct[i] + 1) / ((double)s->total[i] + 1);
        if (method == 3 && none)
            s->p[i] = 1 / (pow(2, step++) * (double)s->total[i]);
    }
    if (method == 4 || method == 7)
        smooth4(s);
    if (method == 5 || method == 7)
        smooth5(s);
    if (method == 6) {
        if (s->order < 3 || s->correct[2] == 0)
            return nc_fail(e, NC_EINVAL, "smoothing method 6 needs a matching trigram; use method 1 or 7");
        for (int i = 2; i < s->order; i++) {
            double prior = s->p[i - 2] == 0 ? 0 : s->p[i - 1] * s->p[i - 1] / s->p[i - 2];
            int64_t grams = last_length - i > 0 ? last_length - i : 0;
            s->p[i] = ((double)s->correct[i] + 5 * prior) / ((double)grams + 5);
        }
    }
    return 0;
}

int nc_bleu_nltk(const nc_segment *segments, int n, int order, int method, double *out, nc_error *e)
{
    *out = 0;
    if (order < 1 || order > 4 || method < 0 || method > 7)
        return nc_fail(e, NC_EINVAL, "NLTK's BLEU has orders 1 to 4 and smoothing methods 0 to 7, asked for %d and %d", order, method);
    struct precision s = { .order = order };
    int64_t reference = 0, last = 0;
    for (int i = 0; i < n; i++) {
        struct counts c;
        count_segment(&segments[i], 5, &c);
        for (int k = 0; k < order; k++) {
            s.correct[k] += c.correct[k];
            s.total[k] += c.total[k] ? c.total[k] : 1;
        }
        s.correct[order] = c.correct[4];       /* method 5 looks at the last hypothesis' 5-grams after the last order */
        s.total[order] = c.total[4] ? c.total[4] : 1;
        s.length += last = (int64_t)c.length;
        reference += c.reference_length[0];
    }
    if (n == 0 || s.correct[0] == 0)
        return 0;
    for (int k = 0; k < order; k++)
        s.p[k] = (double)s.correct[k] / (double)s.total[k];
    NC_TRY(smooth(&s, method, last, e));
    double brevity = s.length > reference ? 1 : exp(1 - (double)reference / (double)s.length), sum = 0;
    for (int k = 0; k < order; k++)
        if (s.p[k] > 0)
            sum += log(s.p[k]) / order;
    *out = brevity * exp(sum);
    return 0;
}
