/* sampler.c - penalties, temperature, truncation and the draw. See sampler.h.
 *
 * Truncation never sorts the vocabulary: top-k finds its threshold by quickselect, top-p takes best tokens off a heap until their mass is reached.
 */
#include "infer/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/head.h"

struct candidate { float logit; int32_t id; };

struct nc_sampler {
    nc_sample_options o;
    const nc_kernels *kernels;
    int vocabulary;
    int32_t *count;                  /* times in the text so far, + SEEN when in prompt or text; NULL without penalties */
    struct candidate *heap;
    double *mass;                    /* exp(logit - best) by id, scratch of a draw */
    nc_processors process;           /* idle ones where none were asked for */
    bool processes;
    nc_text_state text;              /* its ids are own */
    int32_t *ids;
    int ids_capacity;
};

enum { SEEN = 1 << 30 };

void nc_sample_defaults(nc_sample_options *o)
{
    *o = (nc_sample_options){ .top_p = 1, .repetition_penalty = 1 };
}

static int range(double v, double low, double high, const char *name, nc_error *e)
{
    if (v >= low && v <= high)
        return 0;
    return nc_fail(e, NC_EINVAL, "%s is %g; it must lie between %g and %g", name, v, low, high);
}

int nc_sample_check(const nc_sample_options *o, nc_error *e)
{
    NC_TRY(range(o->temperature, 0, 2, "temperature", e));
    NC_TRY(range(o->top_k, 0, 1e9, "top_k", e));
    NC_TRY(range(o->top_p, 0, 1, "top_p", e));
    NC_TRY(range(o->min_p, 0, 1, "min_p", e));
    NC_TRY(range(o->repetition_penalty, 0.01, 100, "repetition_penalty", e));
    NC_TRY(range(o->presence_penalty, -2, 2, "presence_penalty", e));
    NC_TRY(range(o->frequency_penalty, -2, 2, "frequency_penalty", e));
    return range(o->top_logprobs, 0, NC_TOP_LOGPROBS, "top_logprobs", e);
}

static bool has_penalty(const nc_sample_options *o)
{
    return o->repetition_penalty != 1 || o->presence_penalty != 0 || o->frequency_penalty != 0;
}

nc_sampler *nc_sampler_new(const nc_sample_options *o, const nc_kernels *kernels, int vocabulary, const int32_t *prompt, int count)
{
    nc_sampler *s = nc_xcalloc(1, sizeof *s);
    s->o = *o;
    s->kernels = kernels;
    s->vocabulary = vocabulary;
    if (has_penalty(o)) {
        s->count = nc_xcalloc((size_t)vocabulary, sizeof *s->count);
        for (int i = 0; i < count; i++)
            if (prompt[i] >= 0 && prompt[i] < vocabulary)
                s->count[prompt[i]] = SEEN;
    }
    nc_processors_init(&s->process);
    s->process = o->process ? *o->process : s->process;
    if (!nc_processors_idle(&s->process)) {
        s->processes = true;
        s->ids_capacity = count + 64;
        s->ids = nc_xmalloc(sizeof *s->ids * (size_t)s->ids_capacity);
        if (count)
            memcpy(s->ids, prompt, sizeof *s->ids * (size_t)count);
        s->text = (nc_text_state){ .ids = s->ids, .count = count, .prompt_count = count };
    }
    if (o->temperature > 0) {
        s->heap = nc_xmalloc(sizeof *s->heap * (size_t)vocabulary);
        s->mass = nc_xmalloc(sizeof *s->mass * (size_t)vocabulary);
    }
    return s;
}

void nc_sampler_knows(nc_sampler *s, const int32_t *source, int source_count, int max_length)
{
    s->text.source = source;
    s->text.source_count = source_count;
    s->text.max_length = max_length;
}

void nc_sampler_saw(nc_sampler *s, int32_t id)
{
    if (s->count)
        s->count[id] = SEEN | ((s->count[id] & ~SEEN) + 1);
    if (!s->processes)
        return;
    if (s->text.count == s->ids_capacity) {
        s->ids_capacity *= 2;
        s->text.ids = s->ids = nc_xrealloc(s->ids, sizeof *s->ids * (size_t)s->ids_capacity);
    }
    s->ids[s->text.count++] = id;
}

void nc_sampler_free(nc_sampler *s)
{
    if (!s)
        return;
    free(s->count);
    free(s->ids);
    free(s->heap);
    free(s->mass);
    free(s);
}

static void penalize(const nc_sampler *s, float *logits)
{
    const nc_sample_options *o = &s->o;
    for (int i = 0; s->count && i < s->vocabulary; i++) {
        if (!s->count[i])
            continue;
        float x = logits[i];
        x = x < 0 ? (float)(x * o->repetition_penalty) : (float)(x / o->repetition_penalty);
        int times = s->count[i] & ~SEEN;
        if (times)
            x = (float)(x - o->presence_penalty - times * o->frequency_penalty);
        logits[i] = x;
    }
}

/* a goes before b: the larger logit, of equal ones the smaller id. */
static bool before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift(struct candidate *h, int n, int i)
{
    for (;;) {
        int best = i, left = 2 * i + 1;
        for (int child = left; child < left + 2 && child < n; child++)
            if (before(h[child], h[best]))
                best = child;
        if (best == i)
            return;
        struct candidate t = h[i];
        h[i] = h[best];
        h[best] = t;
        i = best;
    }
}

/* Live tokens as a heap, best on top; returns how many. */
static int heap_of(nc_sampler *s, const float *logits)
{
    int n = 0;
    for (int i = 0; i < s->vocabulary; i++)
        if (logits[i] > -INFINITY)
            s->heap[n++] = (struct candidate){ logits[i], i };
    for (int i = n / 2 - 1; i >= 0; i--)
        sift(s->heap, n, i);
    return n;
}

/* The k-th largest live logit (Hoare's quickselect on the heap's memory). */
static float kth(nc_sampler *s, const float *logits, int k)
{
    struct candidate *c = s->heap;
    int n = 0;
    for (int i = 0; i < s->vocabulary; i++)
        if (logits[i] > -INFINITY)
            c[n++] = (struct candidate){ logits[i], i };
    if (k >= n)
        return -INFINITY;
    int low = 0, high = n - 1;
    while (low < high) {
        struct candidate pivot = c[low + (high - low) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (before(c[i], pivot))
                i++;
            while (before(pivot, c[j]))
                j--;
            if (i <= j) {
                struct candidate t = c[i];
                c[i++] = c[j];
                c[j--] = t;
            }
        }
        if (k - 1 <= j)
            high = j;
        else if (k - 1 >= i)
            low = i;
        else
            break;
    }
    return c[k - 1].logit;
}

static void keep_top_k(nc_sampler *s, float *logits)
{
    float least = kth(s, logits, s->o.top_k > s->process.min_tokens_to_keep ? s->o.top_k : s->process.min_tokens_to_keep);
    for (int i = 0; i < s->vocabulary; i++)
        if (logits[i] < least)
            logits[i] = -INFINITY;
}

static double total_mass(nc_sampler *s, const float *logits, float best)
{
    double total = 0;
    for (int i = 0; i < s->vocabulary; i++) {
        s->mass[i] = logits[i] > -INFINITY ? exp((double)logits[i] - best) : 0;
        total += s->mass[i];
    }
    return total;
}

static float largest(const float *logits, int n)
{
    float best = -INFINITY;
    for (int i = 0; i < n; i++)
        if (logits[i] > best)
            best = logits[i];
    return best;
}

/* Tokens leave the heap best first until the mass of those taken reaches top_p; what is still in the heap is removed. */
static void keep_top_p(nc_sampler *s, float *logits)
{
    double total = total_mass(s, logits, largest(logits, s->vocabulary)), taken = 0;
    int n = heap_of(s, logits), kept = 0;
    do {
        kept++;
        taken += s->mass[s->heap[0].id];
        s->heap[0] = s->heap[--n];
        sift(s->heap, n, 0);
    } while (n > 0 && (taken < s->o.top_p * total || kept < s->process.min_tokens_to_keep));
    for (int i = 0; i < n; i++)
        logits[s->heap[i].id] = -INFINITY;
}

static void keep_min_p(nc_sampler *s, float *logits)
{
    float least = largest(logits, s->vocabulary) + (float)log(s->o.min_p);
    if (s->process.min_tokens_to_keep > 1) {
        float keep = kth(s, logits, s->process.min_tokens_to_keep);
        least = least < keep ? least : keep;
    }
    for (int i = 0; i < s->vocabulary; i++)
        if (logits[i] < least)
            logits[i] = -INFINITY;
}

/* What is done when sampling only. */
static void warp(nc_sampler *s, float *logits)
{
    const nc_sample_options *o = &s->o;
    for (int i = 0; i < s->vocabulary; i++)
        logits[i] = (float)(logits[i] / o->temperature);
    nc_process_top_h(&s->process, logits, s->vocabulary);
    if (o->top_k > 0 && o->top_k < s->vocabulary)
        keep_top_k(s, logits);
    if (o->top_p < 1)
        keep_top_p(s, logits);
    if (o->min_p > 0)
        keep_min_p(s, logits);
    nc_process_truncate(&s->process, logits, s->vocabulary);
}

/* The first of the largest; -1 when no logit is a number above -infinity. */
static int best_of(const float *logits, int n)
{
    int best = -1;
    float most = -INFINITY;
    for (int i = 0; i < n; i++)
        if (logits[i] > most) {
            most = logits[i];
            best = i;
        }
    return best;
}

void nc_sampler_warp(nc_sampler *s, float *scores, int least)
{
    s->process.min_tokens_to_keep = s->process.min_tokens_to_keep > least ? s->process.min_tokens_to_keep : least;
    if (best_of(scores, s->vocabulary) >= 0)
        warp(s, scores);
}

void nc_sampler_process(nc_sampler *s, float *logits)
{
    if (s->processes)
        nc_process_first(&s->process, &s->text, logits, s->vocabulary);
    penalize(s, logits);
    if (s->processes)
        nc_process_rest(&s->process, &s->text, logits, s->vocabulary);
    if (s->o.temperature > 0 && best_of(logits, s->vocabulary) >= 0)
        warp(s, logits);
    if (s->process.renormalize)
        nc_process_renormalize(logits, s->vocabulary);
}

void nc_sampler_report(const nc_sampler *s, const float *logits, double lse, nc_token *out)
{
    int n = 0, wanted = s->o.top_logprobs < s->vocabulary ? s->o.top_logprobs : s->vocabulary;
    struct candidate best[NC_TOP_LOGPROBS + 1];
    for (int i = 0; wanted && i < s->vocabulary; i++) {
        struct candidate c = { logits[i], i };
        if (n == wanted && !before(c, best[n - 1]))
            continue;
        int at = n < wanted ? n++ : n - 1;
        for (; at > 0 && before(c, best[at - 1]); at--)
            best[at] = best[at - 1];
        best[at] = c;
    }
    for (int i = 0; i < n; i++)
        out->top[i] = (nc_top_token){ best[i].id, (float)(best[i].logit - lse) };
    out->top_count = n;
}

static int drawn(nc_sampler *s, const float *logits, int position)
{
    nc_rng rng = nc_rng_new(s->o.seed, nc_rng_stream((uint64_t)s->o.choice, (uint64_t)position, 0x73616d70, 0));
    double total = total_mass(s, logits, largest(logits, s->vocabulary)), at = nc_rng_uniform(&rng) * total;
    int last = -1;
    for (int i = 0; i < s->vocabulary; i++) {
        if (s->mass[i] <= 0)
            continue;
        last = i;
        at -= s->mass[i];
        if (at < 0)
            break;
    }
    return last;
}

int nc_sampler_draw(nc_sampler *s, float *logits, int position, nc_token *out, nc_error *e)
{
    int best = best_of(logits, s->vocabulary);
    if (best < 0 || !isfinite(logits[best]))
        return nc_fail(e, NC_EFORMAT, "the model's logits at position %d are not numbers; its weights are broken", position);
    double lse = s->o.logprobs ? nc_head_logsumexp(s->kernels, logits, s->vocabulary) : 0;
    float *raw = NULL;
    out->position = position;
    out->top_count = 0;
    if (s->o.logprobs) {
        nc_sampler_report(s, logits, lse, out);
        raw = nc_xmalloc(sizeof *raw * (size_t)s->vocabulary);
        memcpy(raw, logits, sizeof *raw * (size_t)s->vocabulary);
    }
    bool processed = s->o.temperature > 0 || s->count || s->processes;
    if (processed)
        nc_sampler_process(s, logits);
    out->id = !processed ? best : s->o.temperature > 0 ? drawn(s, logits, position) : best_of(logits, s->vocabulary);
    if (out->id >= 0 && raw)
        out->logprob = (float)(raw[out->id] - lse);
    free(raw);
    if (out->id < 0)
        return nc_fail(e, NC_EINVAL, "the options forbid every token at position %d", position);
    nc_sampler_saw(s, out->id);
    return 0;
}
