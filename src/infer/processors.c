/* processors.c - see processors.h. Arithmetic is in f32 where the reference's is. */
#include "infer/processors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void nc_processors_init(nc_processors *p)
{
    *p = (nc_processors){ .encoder_repetition_penalty = 1, .forced_bos = -1, .typical_p = 1, .min_tokens_to_keep = 1 };
}

bool nc_processors_idle(const nc_processors *p)
{
    return !p->biases && p->encoder_repetition_penalty == 1 && !p->no_repeat_ngram_size && !p->encoder_no_repeat_ngram_size && !p->bad_word_count && !p->min_length &&
           !p->min_new_tokens && p->forced_bos < 0 && !p->forced_eos.n && !p->suppress.n && !p->begin_suppress.n && !p->decays && p->typical_p >= 1 && p->epsilon_cutoff <= 0 &&
           p->eta_cutoff <= 0 && p->top_h <= 0 && !p->renormalize;
}

static nc_id_list copied(nc_arena *a, nc_id_list l)
{
    return (nc_id_list){ l.n ? nc_arena_copy(a, l.p, sizeof *l.p * (size_t)l.n) : NULL, l.n };
}

nc_processors *nc_processors_copy(nc_arena *a, const nc_processors *p)
{
    nc_processors *out = NC_NEW(a, nc_processors);
    nc_sequence_bias *bias = NC_NEW_ARRAY(a, nc_sequence_bias, p->biases + 1);
    nc_id_list *bad = NC_NEW_ARRAY(a, nc_id_list, p->bad_word_count + 1);
    *out = *p;
    for (int i = 0; i < p->biases; i++)
        bias[i] = (nc_sequence_bias){ copied(a, p->bias[i].ids), p->bias[i].bias };
    for (int i = 0; i < p->bad_word_count; i++)
        bad[i] = copied(a, p->bad_words[i]);
    out->bias = bias;
    out->bad_words = bad;
    out->forced_eos = copied(a, p->forced_eos);
    out->suppress = copied(a, p->suppress);
    out->begin_suppress = copied(a, p->begin_suppress);
    out->eos = copied(a, p->eos);
    return out;
}

static void set(float *scores, int n, nc_id_list ids, float v)
{
    for (int i = 0; i < ids.n; i++)
        if (ids.p[i] >= 0 && ids.p[i] < n)
            scores[ids.p[i]] = v;
}

static void only(float *scores, int n, nc_id_list ids)
{
    for (int i = 0; i < n; i++)
        scores[i] = -INFINITY;
    set(scores, n, ids, 0);
}

/* Do all but the last of these ids stand at the text's end? */
static bool stands_before(nc_id_list ids, const nc_text_state *t)
{
    int before = ids.n - 1;
    return ids.n > 0 && before <= t->count && (before == 0 || !memcmp(t->ids + t->count - before, ids.p, sizeof *ids.p * (size_t)before));
}

void nc_process_repetition(double penalty, const int32_t *ids, int count, float *scores, int n)
{
    bool *seen = nc_xcalloc((size_t)n + 1, sizeof *seen);
    const float by = (float)penalty;
    for (int i = 0; i < count; i++)
        if (ids[i] >= 0 && ids[i] < n && !seen[ids[i]]) {
            float *x = &scores[ids[i]];
            seen[ids[i]] = true;
            *x = *x < 0 ? *x * by : *x / by;
        }
    free(seen);
}

void nc_process_first(const nc_processors *p, const nc_text_state *t, float *scores, int n)
{
    for (int i = 0; i < p->biases; i++)
        if (stands_before(p->bias[i].ids, t)) {
            int32_t id = p->bias[i].ids.p[p->bias[i].ids.n - 1];
            if (id >= 0 && id < n)
                scores[id] += p->bias[i].bias;
        }
    if (p->encoder_repetition_penalty != 1)
        nc_process_repetition(1 / p->encoder_repetition_penalty, t->source, t->source_count, scores, n);
}

/* Removes the last of every run of `size` ids in `among` whose first size-1 the text ends with. */
static void ban_ngrams(int size, const int32_t *among, int count, const nc_text_state *t, float *scores, int n)
{
    int before = size - 1;
    if (size < 1 || t->count < before)
        return;
    const int32_t *end = t->ids + t->count - before;
    for (int i = 0; i + size <= count; i++)
        if (!before || !memcmp(among + i, end, sizeof *end * (size_t)before)) {
            int32_t id = among[i + before];
            if (id >= 0 && id < n)
                scores[id] = -INFINITY;
        }
}

static bool is_lone_end(nc_id_list word, nc_id_list eos)
{
    for (int i = 0; i < eos.n; i++)
        if (word.n == 1 && word.p[0] == eos.p[i])
            return true;
    return false;
}

static void decay(const nc_processors *p, const nc_text_state *t, float *scores, int n)
{
    int start = p->decay_start + t->prompt_count;
    if (!p->decays || t->count <= start)
        return;
    for (int i = 0; i < p->eos.n; i++) {
        int32_t id = p->eos.p[i];
        if (id >= 0 && id < n && isfinite(scores[id]))
            scores[id] += fabsf(scores[id]) * (float)(pow(p->decay_factor, t->count - start) - 1);
    }
}

void nc_process_rest(const nc_processors *p, const nc_text_state *t, float *scores, int n)
{
    int begin = t->prompt_count + (t->prompt_count == 1 && p->forced_bos >= 0);
    if (t->count >= p->no_repeat_ngram_size)
        ban_ngrams(p->no_repeat_ngram_size, t->ids, t->count, t, scores, n);
    ban_ngrams(p->encoder_no_repeat_ngram_size, t->source, t->source_count, t, scores, n);
    for (int i = 0; i < p->bad_word_count; i++)
        if (stands_before(p->bad_words[i], t) && !is_lone_end(p->bad_words[i], p->eos))
            set(scores, n, (nc_id_list){ p->bad_words[i].p + p->bad_words[i].n - 1, 1 }, -INFINITY);
    if (t->count < p->min_length || t->count - t->prompt_count < p->min_new_tokens)
        set(scores, n, p->eos, -INFINITY);
    if (p->forced_bos >= 0 && t->count == 1)
        only(scores, n, (nc_id_list){ &p->forced_bos, 1 });
    if (p->forced_eos.n && t->max_length > 0 && t->count == t->max_length - 1)
        only(scores, n, p->forced_eos);
    decay(p, t, scores, n);
    set(scores, n, p->suppress, -INFINITY);
    if (t->count == begin)
        set(scores, n, p->begin_suppress, -INFINITY);
}

/* ---- truncations ---- */
static double log_sum(const float *scores, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        most = scores[i] > most ? scores[i] : most;
    for (int i = 0; i < n; i++)
        sum += exp(scores[i] - most);
    return most + log(sum);
}

void nc_process_renormalize(float *scores, int n)
{
    double lse = log_sum(scores, n);
    for (int i = 0; i < n; i++)
        scores[i] = (float)(scores[i] - lse);
}

static double entropy(const float *scores, int n, double lse)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        if (scores[i] > -INFINITY)
            sum -= exp(scores[i] - lse) * (scores[i] - lse);
    return sum;
}

struct ranked { double key; int id; };

static int ascending(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key ? 1 : x->id - y->id;
}

/* The k-th largest score. */
static float kth_largest(const float *scores, int n, int k)
{
    struct ranked *r = nc_xmalloc(sizeof *r * ((size_t)n + 1));
    for (int i = 0; i < n; i++)
        r[i] = (struct ranked){ -(double)scores[i], i };
    qsort(r, (size_t)n, sizeof *r, ascending);
    float v = scores[r[(k < n ? k : n) - 1].id];
    free(r);
    return v;
}

/* Best tokens first while their part of the entropy (of the 100 best) stays below top_h of it. */
void nc_process_top_h(const nc_processors *p, float *scores, int n)
{
    enum { MOST = 100 };
    int top = n < MOST ? n : MOST;
    if (p->top_h <= 0)
        return;
    struct ranked *r = nc_xmalloc(sizeof *r * ((size_t)n + 1));
    float best[MOST];
    for (int i = 0; i < n; i++)
        r[i] = (struct ranked){ -(double)scores[i], i };
    qsort(r, (size_t)n, sizeof *r, ascending);
    for (int i = 0; i < top; i++)
        best[i] = scores[r[i].id];
    double lse = log_sum(best, top), most = entropy(best, top, lse) * p->top_h, sum = 0;
    int kept = 0;
    for (int i = 0; i < top; i++) {
        double x = best[i] - lse;
        sum += best[i] > -INFINITY ? -exp(x) * x : 0;
        if (i > 0 && sum > most)
            break;
        kept++;
    }
    for (int i = kept; i < n; i++)
        scores[r[i].id] = -INFINITY;
    free(r);
}

/* Meister et al. 2022: tokens whose information is nearest to the entropy, until they hold the mass. */
static void typical(const nc_processors *p, float *scores, int n)
{
    double lse = log_sum(scores, n), ent = entropy(scores, n, lse), mass = 0;
    struct ranked *r = nc_xmalloc(sizeof *r * ((size_t)n + 1));
    int last = 0;
    for (int i = 0; i < n; i++)
        r[i] = (struct ranked){ fabs(lse - scores[i] - ent), i };
    qsort(r, (size_t)n, sizeof *r, ascending);
    for (int i = 0; i < n; i++) {
        mass += exp(scores[r[i].id] - lse);
        last += mass < p->typical_p;
    }
    double bound = r[last < n ? last : n - 1].key;
    for (int i = p->min_tokens_to_keep; i < n; i++)
        if (r[i].key > bound)
            scores[r[i].id] = -INFINITY;
    free(r);
}

/* Removes what is less likely than `least`, but for the min_tokens_to_keep best. */
static void cut(const nc_processors *p, float *scores, int n, double least)
{
    double lse = log_sum(scores, n);
    float keep = kth_largest(scores, n, p->min_tokens_to_keep);
    for (int i = 0; i < n; i++)
        if (exp(scores[i] - lse) < least && scores[i] < keep)
            scores[i] = -INFINITY;
}

void nc_process_truncate(const nc_processors *p, float *scores, int n)
{
    if (p->typical_p < 1)
        typical(p, scores, n);
    if (p->epsilon_cutoff > 0)
        cut(p, scores, n, p->epsilon_cutoff);
    if (p->eta_cutoff > 0) {
        double e = p->eta_cutoff, other = sqrt(e) * exp(-entropy(scores, n, log_sum(scores, n)));
        cut(p, scores, n, e < other ? e : other);
    }
}
