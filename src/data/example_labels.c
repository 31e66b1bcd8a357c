/* example_labels.c - what a classifier learns from: ids of a text or two and the label; a picture and its label; words and a target at the first piece of each. */
#include <stdlib.h>

#include "data/example_make.h"
#include "front/text_ids.h"

/* A label below 0 (-100, as transformers writes it) does not count. */
static bool is_left_out(const nc_json *label)
{
    int64_t n;
    return nc_json_int_exact(label, &n) && n < 0;
}

static int label_of(const nc_making *w, const nc_sample *s, nc_example *out, nc_error *e)
{
    const nc_label_set *labels = w->o->labels;
    if (!s->label)
        return nc_fail(e, NC_EFORMAT, "the record has no label");
    if (labels->kind != NC_LABELS_ONE) {
        float *values = NC_NEW_ARRAY(w->x->arena, float, labels->count + 1);
        out->values = values;
        out->scored = 1;
        return nc_label_values(labels, s->label, values, e);
    }
    out->label = is_left_out(s->label) ? -1 : nc_label_id(labels, s->label);
    out->scored = out->label >= 0;
    return out->scored || is_left_out(s->label) ? 0 : nc_label_unknown(labels, s->label, e);
}

static int make_words(nc_making *w, const nc_sample *s, nc_error *e)
{
    nc_arena *a = w->x->arena;
    nc_str *words = nc_xcalloc((size_t)s->words->count + 1, sizeof *words);
    const nc_json **label = nc_xcalloc((size_t)s->words->count + 1, sizeof *label);
    nc_text_ids x;
    int n = 0, status;
    NC_JSON_EACH(one, s->words)
        words[n++] = one->text;
    n = 0;
    NC_JSON_EACH(one, s->label)
        label[n++] = one;
    status = nc_text_ids_of_words(w->t, a, words, s->words->count, w->o->cutoff, &x, e);
    int32_t *targets = status == 0 ? NC_NEW_ARRAY(a, int32_t, x.count + 1) : NULL;
    for (int i = 0; status == 0 && i < x.count; i++) {
        const nc_json *mine = x.word[i] >= 0 ? label[x.word[i]] : NULL;
        targets[i] = mine && !is_left_out(mine) ? nc_label_id(w->o->labels, mine) : -1;
        if (mine && targets[i] < 0 && !is_left_out(mine))
            status = nc_label_unknown(w->o->labels, mine, e);
    }
    if (status == 0) {
        w->x->cut += x.cut;
        nc_example_add(w, (nc_example){ .ids = x.ids, .targets = targets, .count = x.count, .label = -1 });
    }
    free(words);
    free(label);
    return status;
}

int nc_example_make_labels(nc_making *w, const nc_sample *s, nc_error *e)
{
    nc_example one = { .label = -1 };
    nc_text_ids x = { 0 };
    if (s->words)
        return s->label ? make_words(w, s, e) : nc_fail(e, NC_EFORMAT, "the record has no labels of its words");
    NC_TRY(label_of(w, s, &one, e));
    if (s->media_count) {
        one.media = nc_example_media(w, s);
        one.media_count = s->media_count;
    } else {
        NC_TRY(nc_text_ids_of(w->t, w->x->arena, s->text, s->pair.p ? &s->pair : NULL, w->o->cutoff, &x, e));
        one.ids = x.ids;
        one.count = x.count;
        one.types = s->pair.p && w->o->types > 1 ? x.types : NULL;
        w->x->cut += x.cut;
    }
    nc_example_add(w, one);
    return 0;
}
