/* label_scores.c - see label_scores.h. Source of the entities: seqeval's get_entities and conlleval (Tjong Kim Sang 2002). */
#include "data/label_scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct nc_label_scores {
    const nc_label_set *labels;
    bool words, has_entities;
    int64_t *confusion;                          /* [truth][answer], or [label][truth][answer] of two */
    int64_t decisions, right;
    double *truth, *answer;                      /* numbers, one after another */
    size_t numbers, capacity;
    int *seen[2], run, run_capacity;             /* labels of the text at hand: data's and the answer's */
    int64_t entities[2], entities_right;
};

/* "B-PER": its tag's letter, and its type behind the dash ("" without). */
static char tag_of(nc_str name, nc_str *type)
{
    bool is_tag = name.n > 2 && name.p[1] == '-' && strchr("BIES", name.p[0]);
    *type = is_tag ? (nc_str){ name.p + 2, name.n - 2 } : (nc_str){ "", 0 };
    return is_tag ? name.p[0] : 'O';
}

nc_label_scores *nc_label_scores_new(const nc_label_set *labels, bool words)
{
    nc_label_scores *s = nc_xcalloc(1, sizeof *s);
    size_t n = (size_t)labels->count;
    nc_str type;
    s->labels = labels;
    s->words = words;
    s->confusion = nc_xcalloc(labels->kind == NC_LABELS_ONE ? n * n + 1 : 4 * n + 1, sizeof *s->confusion);
    for (int i = 0; words && labels->name && i < labels->count; i++)
        s->has_entities |= tag_of(labels->name[i], &type) != 'O';
    return s;
}

void nc_label_scores_free(nc_label_scores *s)
{
    if (!s)
        return;
    free(s->confusion);
    free(s->truth);
    free(s->answer);
    free(s->seen[0]);
    free(s->seen[1]);
    free(s);
}

void nc_label_scores_clear(nc_label_scores *s)
{
    size_t n = (size_t)s->labels->count;
    memset(s->confusion, 0, sizeof *s->confusion * (s->labels->kind == NC_LABELS_ONE ? n * n : 4 * n));
    s->decisions = s->right = s->entities[0] = s->entities[1] = s->entities_right = 0;
    s->numbers = 0;
    s->run = 0;
}

int nc_label_best(const float *logits, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

static void keep_numbers(nc_label_scores *s, const float *logits, const float *values)
{
    for (int i = 0; i < s->labels->count; i++) {
        if (s->numbers == s->capacity) {
            s->capacity = s->capacity ? 2 * s->capacity : 1024;
            s->truth = nc_xrealloc(s->truth, sizeof *s->truth * s->capacity);
            s->answer = nc_xrealloc(s->answer, sizeof *s->answer * s->capacity);
        }
        s->truth[s->numbers] = (double)values[i];
        s->answer[s->numbers++] = (double)logits[i];
    }
}

static void keep_word(nc_label_scores *s, int truth, int answer)
{
    if (s->run == s->run_capacity) {
        s->run_capacity = s->run_capacity ? 2 * s->run_capacity : 256;
        for (int k = 0; k < 2; k++)
            s->seen[k] = nc_xrealloc(s->seen[k], sizeof **s->seen * (size_t)s->run_capacity);
    }
    s->seen[0][s->run] = truth;
    s->seen[1][s->run++] = answer;
}

void nc_label_scores_add(nc_label_scores *s, const float *logits, int label, const float *values)
{
    const int n = s->labels->count;
    bool all = true;
    s->decisions++;
    if (s->labels->kind == NC_LABELS_NUMBERS) {
        keep_numbers(s, logits, values);
        return;
    }
    if (s->labels->kind == NC_LABELS_SOME) {
        for (int i = 0; i < n; i++) {
            int truth = values[i] > 0.5f, answer = logits[i] > 0;
            s->confusion[4 * i + 2 * truth + answer]++;
            all &= truth == answer;
        }
        s->right += all;
        return;
    }
    int answer = nc_label_best(logits, n);
    s->confusion[(int64_t)label * n + answer]++;
    s->right += answer == label;
    if (s->has_entities)
        keep_word(s, label, answer);
}

/* ---- entities ---- */

struct entity { int begin, end; nc_str type; };

/* The next entity of a row of labels from *at on. A new one begins at B or S, behind E or S, and where the type changes. */
static bool next_entity(const nc_label_set *l, const int *label, int n, int *at, struct entity *out)
{
    nc_str type;
    int i = *at;
    while (i < n && tag_of(l->name[label[i]], &type) == 'O')
        i++;
    if (i >= n)
        return false;
    *out = (struct entity){ i, i + 1, { 0 } };
    char last = tag_of(l->name[label[i]], &out->type);
    for (; out->end < n; out->end++) {
        char tag = tag_of(l->name[label[out->end]], &type);
        if (tag == 'O' || tag == 'B' || tag == 'S' || last == 'E' || last == 'S' || !nc_str_eq(type, out->type))
            break;
        last = tag;
    }
    *at = out->end;
    return true;
}

void nc_label_scores_end(nc_label_scores *s)
{
    struct entity a, b;
    int i = 0, j = 0, n = s->run;
    bool truth = next_entity(s->labels, s->seen[0], n, &i, &a), answer = next_entity(s->labels, s->seen[1], n, &j, &b);
    while (truth || answer) {
        bool same = truth && answer && a.begin == b.begin && a.end == b.end && nc_str_eq(a.type, b.type), first = truth && (!answer || a.begin <= b.begin);
        bool second = answer && (!truth || b.begin <= a.begin);
        s->entities_right += same;
        s->entities[0] += first;
        s->entities[1] += second;
        truth = first ? next_entity(s->labels, s->seen[0], n, &i, &a) : truth;
        answer = second ? next_entity(s->labels, s->seen[1], n, &j, &b) : answer;
    }
    s->run = 0;
}

/* ---- the figures ---- */

int64_t nc_label_confusion(const nc_label_scores *s, int truth, int answer)
{
    return s->labels->kind == NC_LABELS_ONE ? s->confusion[(int64_t)truth * s->labels->count + answer] : 0;
}

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

static void counts_of(const nc_label_scores *s, int label, int64_t *tp, int64_t *fp, int64_t *fn)
{
    const int n = s->labels->count;
    const int64_t *c = s->confusion + 4 * label;
    *tp = *fp = *fn = 0;
    if (s->labels->kind == NC_LABELS_SOME) {
        *tp = c[3];
        *fp = c[1];
        *fn = c[2];
        return;
    }
    *tp = s->confusion[(int64_t)label * n + label];
    for (int i = 0; i < n; i++) {
        *fn += i != label ? s->confusion[(int64_t)label * n + i] : 0;
        *fp += i != label ? s->confusion[(int64_t)i * n + label] : 0;
    }
}

nc_label_share nc_label_share_of(const nc_label_scores *s, int label)
{
    int64_t tp, fp, fn;
    counts_of(s, label, &tp, &fp, &fn);
    return (nc_label_share){ share((double)tp, (double)(tp + fp)), share((double)tp, (double)(tp + fn)), share(2 * (double)tp, (double)(2 * tp + fp + fn)), tp + fn };
}

static double macro_f1(const nc_label_scores *s)
{
    double sum = 0;
    int occur = 0;
    for (int i = 0; i < s->labels->count; i++) {
        int64_t tp, fp, fn;
        counts_of(s, i, &tp, &fp, &fn);
        bool counts = s->labels->kind == NC_LABELS_SOME || tp + fp + fn > 0;
        occur += counts;
        sum += counts ? share(2 * (double)tp, (double)(2 * tp + fp + fn)) : 0;
    }
    return share(sum, occur);
}

static double micro_f1(const nc_label_scores *s)
{
    int64_t sum[3] = { 0 }, one[3];
    for (int i = 0; i < s->labels->count; i++) {
        counts_of(s, i, &one[0], &one[1], &one[2]);
        for (int k = 0; k < 3; k++)
            sum[k] += one[k];
    }
    return share(2 * (double)sum[0], (double)(2 * sum[0] + sum[1] + sum[2]));
}

static double correlation(const double *x, const double *y, size_t n)
{
    double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mx) * (y[i] - my);
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

struct ranked { double value; size_t index; };

static int by_value(const void *a, const void *b)
{
    double x = ((const struct ranked *)a)->value, y = ((const struct ranked *)b)->value;
    return x < y ? -1 : x > y;
}

static double *ranks_of(const double *x, size_t n)
{
    struct ranked *r = nc_xcalloc(n + 1, sizeof *r);
    double *out = nc_xcalloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++)
        r[i] = (struct ranked){ x[i], i };
    qsort(r, n, sizeof *r, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && r[end].value == r[i].value;)
            end++;
        for (size_t k = i; k < end; k++)
            out[r[k].index] = 0.5 * (double)(i + end - 1);
    }
    free(r);
    return out;
}

static int list_numbers(const nc_label_scores *s, nc_label_score *out)
{
    double sum = 0;
    for (size_t i = 0; i < s->numbers; i++)
        sum += (s->truth[i] - s->answer[i]) * (s->truth[i] - s->answer[i]);
    double *truth = ranks_of(s->truth, s->numbers), *answer = ranks_of(s->answer, s->numbers);
    out[0] = (nc_label_score){ "mse", s->numbers ? sum / (double)s->numbers : NAN };
    out[1] = (nc_label_score){ "pearson", correlation(s->truth, s->answer, s->numbers) };
    out[2] = (nc_label_score){ "spearman", correlation(truth, answer, s->numbers) };
    free(truth);
    free(answer);
    return 3;
}

int nc_label_scores_list(const nc_label_scores *s, nc_label_score out[NC_LABEL_SCORES])
{
    int n = 0;
    if (s->labels->kind == NC_LABELS_NUMBERS)
        return list_numbers(s, out);
    out[n++] = (nc_label_score){ "accuracy", share((double)s->right, (double)s->decisions) };
    out[n++] = (nc_label_score){ "f1", macro_f1(s) };
    if (s->labels->kind == NC_LABELS_SOME)
        out[n++] = (nc_label_score){ "f1_micro", micro_f1(s) };
    if (s->has_entities) {
        double right = (double)s->entities_right, precision = share(right, (double)s->entities[1]), recall = share(right, (double)s->entities[0]);
        out[n++] = (nc_label_score){ "entity_precision", precision };
        out[n++] = (nc_label_score){ "entity_recall", recall };
        out[n++] = (nc_label_score){ "entity_f1", share(2 * precision * recall, precision + recall) };
    }
    return n;
}
