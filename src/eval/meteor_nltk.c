/* meteor_nltk.c - METEOR as nltk.translate.meteor_score defines it.
 *
 *   stages exact, stem (Porter), synonym: hypothesis words from the last to the first take the last free equal word of the reference
 *   P = m / |h|,  R = m / |r|,  F = P R / (alpha P + (1 - alpha) R),  score = F (1 - gamma (chunks / m)^beta)
 *
 * Chunks are counted on the matches sorted by the hypothesis: a match goes on a chunk when both sides are neighbours of the one before.
 * The matcher does not look for the fewest chunks. Source: nltk 3.10; A. Lavie, A. Agarwal, "Meteor: an automatic metric ...", WMT 2007.
 */
#include "eval/metrics.h"
#include "eval/porter.h"
#include <math.h>

/* partner[i] is the reference word matched to hypothesis word i, -1 while free; used[j] says reference word j is taken. */
struct alignment { int *partner; bool *used; int matches; };

static void match_equal(struct alignment *m, nc_words h, nc_words r)
{
    for (int i = h.n - 1; i >= 0; i--)
        for (int j = r.n - 1; m->partner[i] < 0 && j >= 0; j--)
            if (!m->used[j] && nc_str_eq(h.at[i], r.at[j])) {
                m->partner[i] = j;
                m->used[j] = true;
                m->matches++;
            }
}

static void match_synonyms(struct alignment *m, nc_words h, nc_words r, const nc_meteor_nltk_options *o)
{
    for (int i = h.n - 1; i >= 0; i--)
        for (int j = r.n - 1; m->partner[i] < 0 && j >= 0; j--)
            if (!m->used[j] && o->related(o->context, h.at[i], r.at[j])) {
                m->partner[i] = j;
                m->used[j] = true;
                m->matches++;
            }
}

static int count_chunks(const struct alignment *m, int n)
{
    int chunks = 0, last_i = -2, last_j = -2;
    for (int i = 0; i < n; i++) {
        if (m->partner[i] < 0)
            continue;
        chunks += !(i == last_i + 1 && m->partner[i] == last_j + 1);
        last_i = i;
        last_j = m->partner[i];
    }
    return chunks;
}

static nc_words each(nc_arena *a, nc_words w, nc_str (*f)(nc_arena *, nc_str))
{
    nc_words out = { NC_NEW_ARRAY(a, nc_str, w.n + 1), w.n };
    for (int i = 0; i < w.n; i++)
        out.at[i] = f(a, w.at[i]);
    return out;
}

static double score_one(nc_arena *a, nc_words h, nc_words r, const nc_meteor_nltk_options *o)
{
    struct alignment m = { NC_NEW_ARRAY(a, int, h.n + 1), NC_NEW_ARRAY(a, bool, r.n + 1), 0 };
    for (int i = 0; i < h.n; i++)
        m.partner[i] = -1;
    match_equal(&m, h, r);
    nc_words hs = each(a, h, nc_porter_stem), rs = each(a, r, nc_porter_stem);
    match_equal(&m, hs, rs);
    if (o->related)
        match_synonyms(&m, hs, rs, o);         /* NLTK hands the stems on: synonyms are looked up for them */
    if (m.matches == 0)
        return 0;
    double precision = (double)m.matches / h.n, recall = (double)m.matches / r.n;
    double below = o->alpha * precision + (1 - o->alpha) * recall;
    if (below == 0)
        return 0;
    double mean = precision * recall / below, part = (double)count_chunks(&m, h.n) / m.matches;
    return (1 - o->gamma * pow(part, o->beta)) * mean;
}

double nc_meteor_nltk(const nc_segment *s, const nc_meteor_nltk_options *options)
{
    static const nc_meteor_nltk_options usual = { .alpha = 0.9, .beta = 3, .gamma = 0.5 };
    const nc_meteor_nltk_options *o = options ? options : &usual;
    nc_arena *a = nc_arena_new();
    nc_words h = each(a, s->hypothesis, nc_lower);
    double best = 0;
    for (int i = 0; i < s->count; i++) {
        double v = score_one(a, h, each(a, s->references[i], nc_lower), o);
        best = v > best ? v : best;
    }
    nc_arena_free(a);
    return best;
}
