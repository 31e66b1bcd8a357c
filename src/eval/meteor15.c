/* meteor15.c - METEOR 1.5: statistics of an alignment and the score made of them.
 *
 *   P = sum_m w_m (d c_m + (1 - d) f_m) / (d C + (1 - d) F) over the test's words, R the same over the reference's;
 *   c, f: matched content and function words of module m;  C, F: all of them
 *   Fmean = 1 / ((1 - alpha)/P + alpha/R),  frag = chunks / mean matched words (0 for a perfect match),  score = Fmean (1 - gamma frag^beta)
 *
 * A set's score is that of the summed statistics, not the mean. Source: M. Denkowski, A. Lavie, "Meteor Universal", WMT 2014, and version 1.5.
 */
#include "eval/meteor15.h"
#include <math.h>
#include <string.h>

int nc_meteor15_defaults(const char *task, const nc_meteor_data *data, nc_meteor15_options *out, nc_error *e)
{
    static const struct { const char *task; double parameters[4], weights[4]; } tasks[] = {
        { "rank", { 0.85, 0.20, 0.60, 0.75 }, { 1.0, 0.6, 0.8, 0.6 } }, { "adq", { 0.75, 1.40, 0.45, 0.70 }, { 1.0, 1.0, 0.6, 0.8 } },
        { "hter", { 0.40, 1.50, 0.35, 0.55 }, { 1.0, 0.2, 0.6, 0.8 } }, { "li", { 0.75, 1.40, 0.70, 0.50 }, { 1.0, 0.5, 0.5, 0.5 } },
        { "other", { 0.75, 1.40, 0.70, 0.50 }, { 1.0, 0.5, 0.5, 0.5 } },
    };
    for (int i = 0; i < NC_COUNT(tasks); i++) {
        if (strcmp(task, tasks[i].task) != 0)
            continue;
        bool english = strcmp(task, "other") != 0;
        const double *p = tasks[i].parameters, *w = tasks[i].weights;
        *out = (nc_meteor15_options){ .english = english, .modules = NC_METEOR_EXACT, .weight = { w[0] }, .alpha = p[0], .beta = p[1], .gamma = p[2],
                                      .delta = p[3], .normalize = english, .keep_punctuation = true, .lower = true, .data = data };
        int n = 1;
        for (int m = 1; english && m < 4; m++) {
            bool usable = m == 1 || (data && (m == 2 ? nc_map_count(data->synsets) : nc_map_count(data->phrases)) > 0);
            if (usable) {
                out->modules |= 1u << m;
                out->weight[n++] = w[m];
            }
        }
        return 0;
    }
    return nc_fail(e, NC_ENOTFOUND, "METEOR has no task \"%s\"; known: rank, adq, hter, li, other", task);
}

static int module_count(const nc_meteor15_options *o) { return __builtin_popcount(o->modules & 15u); }

/* Split as Java's StringTokenizer: space, tab, line feed, return, form feed. */
static nc_words tokens(nc_arena *a, nc_str s)
{
    nc_words w = { NC_NEW_ARRAY(a, nc_str, s.n / 2 + 2), 0 };
    for (size_t i = 0; i < s.n;) {
        size_t start = i;
        while (i < s.n && !strchr(" \t\n\r\f", s.p[i] ? s.p[i] : 'x'))
            i++;
        if (i > start)
            w.at[w.n++] = (nc_str){ s.p + start, i - start };
        else
            i++;
    }
    return w;
}

static nc_words prepared(nc_arena *a, nc_str s, const nc_meteor15_options *o)
{
    if (o->normalize && o->english)
        s = nc_meteor_normalize(a, s, o->data, o->keep_punctuation);
    else if (o->lower)
        s = nc_lower(a, s);
    return tokens(a, s);
}

/* UTF-16 units of a word, or 1 when words are counted. */
static double size_of(nc_str w, bool characters)
{
    double n = 0;
    if (!characters)
        return 1;
    for (size_t at = 0; at < w.n;) {
        uint32_t c = nc_next_char(w, &at);
        n += c >= 0x10000 && c < 0x110000 ? 2 : 1;
    }
    return n;
}

/* English's list serves the language "other" too: the program never unloads it. */
static bool *function_words(nc_arena *a, nc_words w, const nc_meteor15_options *o, double *length, double *functions)
{
    bool *is = NC_NEW_ARRAY(a, bool, w.n + 1);
    for (int i = 0; i < w.n; i++) {
        double size = size_of(w.at[i], o->characters);
        is[i] = o->data && nc_map_get(o->data->functions, nc_lower(a, w.at[i]), NULL);
        *length += size;
        *functions += is[i] ? size : 0;
    }
    return is;
}

static void add_words(nc_meteor15_stats *s, int side, int module, nc_words w, int start, int length, const bool *functions, bool characters)
{
    for (int k = start; k < start + length; k++)
        (functions[k] ? s->functional : s->content)[module][side] += size_of(w.at[k], characters);
    s->words[side] += length;
}

static void measure(nc_arena *a, nc_words test, nc_words reference, const nc_meteor15_options *o, nc_meteor15_stats *s)
{
    nc_meteor_match *all;
    int *chosen, last_end = -1;
    memset(s, 0, sizeof *s);
    nc_meteor_align(a, test, reference, o, &all, &chosen);
    bool *in_test = function_words(a, test, o, &s->length[0], &s->function[0]);
    bool *in_reference = function_words(a, reference, o, &s->length[1], &s->function[1]);
    for (int j = 0; j < reference.n; j++) {
        if (chosen[j] < 0)
            continue;
        const nc_meteor_match *m = &all[chosen[j]];
        add_words(s, 0, m->module, test, m->test, m->test_length, in_test, o->characters);
        add_words(s, 1, m->module, reference, m->start, m->length, in_reference, o->characters);
    }
    for (int j = 0; j < reference.n;) {
        if (chosen[j] < 0) {
            s->chunks += last_end != -1;
            last_end = -1;
            j++;
            continue;
        }
        const nc_meteor_match *m = &all[chosen[j]];
        s->chunks += last_end != -1 && m->test != last_end;
        last_end = m->test + m->test_length;
        j = m->start + m->length;
    }
    s->chunks += last_end != -1;
}

static bool is_perfect(const nc_meteor15_stats *s)
{
    double sum[2] = { 0 };
    for (int m = 0; m < 4; m++)
        for (int side = 0; side < 2; side++)
            sum[side] += s->content[m][side] + s->functional[m][side];
    return sum[0] == s->length[0] && sum[1] == s->length[1] && s->chunks == 1;
}

double nc_meteor15_score(nc_meteor15_stats *s, const nc_meteor15_options *o)
{
    double rate[2], delta = o->delta;
    int n = module_count(o);
    for (int side = 0; side < 2; side++) {
        double matched = 0, all = delta * (s->length[side] - s->function[side]) + (1.0 - delta) * s->function[side];
        for (int m = 0; m < n; m++)
            matched += s->content[m][side] * o->weight[m] * delta;
        for (int m = 0; m < n; m++)
            matched += s->functional[m][side] * o->weight[m] * (1.0 - delta);
        rate[side] = matched / all;
    }
    double mean = 1.0 / ((1.0 - o->alpha) / rate[0] + o->alpha / rate[1]);
    double part = is_perfect(s) ? 0 : s->chunks / ((s->words[0] + s->words[1]) / 2);
    double score = mean * (1.0 - o->gamma * pow(part, o->beta));
    s->score = isnan(score) || score < 0 ? 0 : score;
    return s->score;
}

void nc_meteor15(nc_str hypothesis, const nc_str *references, int count, const nc_meteor15_options *o, nc_meteor15_stats *out)
{
    nc_arena *a = nc_arena_new();
    nc_words test = prepared(a, hypothesis, o);
    memset(out, 0, sizeof *out);
    out->score = -1;
    for (int i = 0; i < count; i++) {
        nc_meteor15_stats s;
        measure(a, test, prepared(a, references[i], o), o, &s);
        if (nc_meteor15_score(&s, o) > out->score)
            *out = s;
    }
    nc_arena_free(a);
}

void nc_meteor15_add(nc_meteor15_stats *total, const nc_meteor15_stats *s)
{
    for (int side = 0; side < 2; side++) {
        total->length[side] += s->length[side];
        total->function[side] += s->function[side];
        total->words[side] += s->words[side];
        for (int m = 0; m < 4; m++) {
            total->content[m][side] += s->content[m][side];
            total->functional[m][side] += s->functional[m][side];
        }
    }
    if (!is_perfect(s))
        total->chunks += s->chunks;
}
