/* evaluate_score.c - the figures of a set of answers. Samples without a reference count in none of them. */
#include <math.h>

#include "eval/evaluate_parts.h"

/* The segments of all cases that have references, cut into units. */
static nc_segment *segments(nc_arena *a, const nc_cases *c, nc_unit unit, bool ceiling, int *count)
{
    nc_segment *out = NC_NEW_ARRAY(a, nc_segment, c->count + 1);
    *count = 0;
    for (int i = 0; i < c->count; i++) {
        const nc_case *x = &c->at[i];
        if (!x->reference_count || (ceiling && !x->ceiling.p))
            continue;
        nc_words *references = NC_NEW_ARRAY(a, nc_words, x->reference_count);
        for (int r = 0; r < x->reference_count; r++)
            references[r] = nc_units(a, x->references[r], unit);
        out[(*count)++] = (nc_segment){ nc_units(a, ceiling ? x->ceiling : x->prediction, unit), references, x->reference_count };
    }
    return out;
}

static double mean_meteor(const nc_segment *s, int n, double *each)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double v = nc_meteor_nltk(&s[i], NULL);
        sum += v;
        if (each)
            each[i] = v;
    }
    return n ? sum / n : NAN;
}

static void score_words(nc_arena *a, nc_cases *c, nc_evaluate_result *out)
{
    int n, k = 0;
    nc_segment *s = segments(a, c, NC_UNIT_EOJEOL, false, &n);
    double *meteor = NC_NEW_ARRAY(a, double, n + 1), *cider = NC_NEW_ARRAY(a, double, n + 1), bleu[4] = { NAN, NAN, NAN, NAN }, rouge = 0;
    out->meteor = mean_meteor(s, n, meteor);
    if (n)
        nc_bleu_coco(s, n, NC_BLEU_CLOSEST, bleu, NULL);
    out->bleu4 = bleu[3];
    out->cider = n ? nc_cider(s, n, false, cider) : NAN;
    for (int i = 0; i < c->count; i++) {
        nc_case *x = &c->at[i];
        x->meteor = x->rouge_l = x->cider = NAN;
        if (!x->reference_count)
            continue;
        x->meteor = meteor[k];
        x->cider = cider[k];
        x->rouge_l = nc_rouge_l_coco(&s[k++]);
        rouge += x->rouge_l;
    }
    out->rouge_l = n ? rouge / n : NAN;
    s = segments(a, c, NC_UNIT_EOJEOL, true, &n);
    out->meteor_ceiling = mean_meteor(s, n, NULL);
    s = segments(a, c, NC_UNIT_SYLLABLE, false, &n);
    out->meteor_syllable = mean_meteor(s, n, NULL);
    if (n)
        nc_bleu_coco(s, n, NC_BLEU_CLOSEST, bleu, NULL);
    out->bleu4_syllable = bleu[3];
}

static void score_slots(nc_cases *c, nc_evaluate_result *out)
{
    int n = 0, right[nc_scene_slot_count] = { 0 }, all = 0;
    for (int i = 0; i < c->count; i++) {
        nc_case *x = &c->at[i];
        nc_scene_slots said;
        bool each[nc_scene_slot_count];
        nc_buf text = { 0 };
        if (!x->has_slots)
            continue;
        nc_buf_add(&text, x->prediction.p ? x->prediction.p : "", x->prediction.n);
        nc_scenes_slots(text.p ? text.p : "", &said);
        nc_buf_free(&text);
        x->right = nc_scenes_compare(&x->slots, &said, each);
        for (int k = 0; k < nc_scene_slot_count; k++)
            right[k] += each[k];
        all += x->right;
        n++;
    }
    out->slot_accuracy = n ? (double)all / (n * nc_scene_slot_count) : NAN;
    for (int k = 0; k < nc_scene_slot_count; k++)
        out->slot[k] = n ? (double)right[k] / n : NAN;
}

void nc_cases_score(nc_cases *c, nc_evaluate_result *out)
{
    nc_arena *a = nc_arena_new();
    score_words(a, c, out);
    score_slots(c, out);
    out->samples = c->count;
    nc_arena_free(a);
}
