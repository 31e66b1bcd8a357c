/* example.c - samples to ids and targets: target[i] = id[i + 1] where the mask says that the assistant speaks, else -1. */
#include "data/example_make.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void nc_examples_add_media(const nc_dataset *d, nc_example_kind kind, nc_media_store *store)
{
    for (int i = 0; i < d->count && kind != NC_EXAMPLE_TEXT && kind != NC_EXAMPLE_PIECES; i++)
        for (int k = 0; k < d->samples[i].media_count; k++)
            nc_media_store_add(store, d->samples[i].media[k].path, d->samples[i].media[k].is_video);
}

static void hash_in(nc_examples *x, const void *p, size_t bytes)
{
    if (p)
        x->hash = nc_hash64(p, bytes, x->hash);
}

void nc_example_add(nc_making *w, nc_example one)
{
    nc_examples *x = w->x;
    const size_t bytes = sizeof *one.ids * (size_t)one.count;
    for (int i = 0; one.targets && i < one.count; i++)
        one.scored += one.targets[i] >= 0;
    for (int k = 0; k < one.media_count; k++)
        one.pictures += (int)nc_visual_units(nc_media_store_shape(w->store, one.media[k]));
    if (one.scored == 0 && w->o->kind != NC_EXAMPLE_PAIR) {
        x->left_out++;
        return;
    }
    if (x->count == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 1024;
        x->item = nc_xrealloc(x->item, sizeof *x->item * (size_t)w->capacity);
    }
    x->item[x->count++] = one;
    x->tokens += one.count;
    x->scored += one.scored;
    if (one.count > x->longest)
        x->longest = one.count;
    hash_in(x, one.ids, bytes);
    hash_in(x, one.targets, bytes);
    hash_in(x, one.types, bytes);
    hash_in(x, one.source_count ? one.source : NULL, sizeof *one.source * (size_t)one.source_count);
    if (w->o->labels) {
        hash_in(x, &one.label, sizeof one.label);
        hash_in(x, one.values, sizeof *one.values * (size_t)w->o->labels->count);
    }
    x->longest_source = one.source_count > x->longest_source ? one.source_count : x->longest_source;
}

static void add_example(nc_making *w, const int32_t *ids, int32_t *targets, int count, const int *media, int media_count)
{
    nc_example_add(w, (nc_example){ .ids = ids, .targets = targets, .count = count, .media = media, .media_count = media_count });
}

static int32_t *next_targets(nc_arena *a, const int32_t *ids, const uint8_t *mask, int count)
{
    int32_t *targets = NC_NEW_ARRAY(a, int32_t, count + 1);
    for (int i = 0; i < count; i++)
        targets[i] = i + 1 < count && (!mask || mask[i + 1]) ? ids[i + 1] : -1;
    return targets;
}

static int plain_ids(nc_making *w, nc_str text, int most, nc_ids *ids, nc_error *e)
{
    NC_TRY(nc_tokenizer_encode(w->t, text, NC_ENCODE_SPECIAL, ids, e));
    if (most > 0 && ids->n > (size_t)most - 1)
        ids->n = (size_t)most - 1;
    if (w->eos >= 0 && (ids->n == 0 || ids->p[ids->n - 1] != w->eos))
        nc_ids_add(ids, w->eos);
    return 0;
}

static int make_text(nc_making *w, const nc_sample *s, nc_error *e)
{
    nc_arena *a = w->x->arena;
    nc_ids ids = { 0 };
    int status = plain_ids(w, nc_sample_answer(s), 0, &ids, e);
    for (size_t at = 0; status == 0 && at + 1 < ids.n; at += (size_t)w->o->cutoff) {
        size_t n = ids.n - at < (size_t)w->o->cutoff ? ids.n - at : (size_t)w->o->cutoff;
        int32_t *piece = nc_arena_copy(a, ids.p + at, sizeof *piece * n);
        add_example(w, piece, next_targets(a, piece, NULL, (int)n), (int)n, NULL, 0);
    }
    nc_ids_free(&ids);
    return status;
}

int *nc_example_media(nc_making *w, const nc_sample *s)
{
    int *media = NC_NEW_ARRAY(w->x->arena, int, s->media_count + 1);
    for (int k = 0; k < s->media_count; k++)
        media[k] = nc_media_store_add(w->store, s->media[k].path, s->media[k].is_video);
    return media;
}

static int make_pair(nc_making *w, const nc_sample *s, nc_error *e)
{
    nc_arena *a = w->x->arena;
    nc_ids ids = { 0 };
    if (s->media_count < 1)
        return nc_fail(e, NC_EINVAL, "a contrastive pair needs a picture or a video beside its text");
    int status = plain_ids(w, nc_sample_answer(s), w->o->cutoff, &ids, e);
    if (status == 0) {
        int32_t *copy = nc_arena_copy(a, ids.p, sizeof *copy * ids.n);
        add_example(w, copy, next_targets(a, copy, NULL, (int)ids.n), (int)ids.n, nc_example_media(w, s), 1);
    }
    nc_ids_free(&ids);
    return status;
}

/* The last question behind its media. The end token stays where a text is cut; *out NULL: the cut would hit media. */
static int source_of(nc_making *w, const nc_sample *s, const int32_t **out, int *count, nc_error *e)
{
    nc_arena *a = w->x->arena;
    const int most = w->o->source_cutoff;
    int *rows = NC_NEW_ARRAY(a, int, s->media_count + 1);
    nc_conversation_ids ids;
    for (int k = 0; k < s->media_count; k++) {
        rows[k] = w->o->rows ? w->o->rows(w->o->rows_context, nc_media_store_shape(w->store, nc_media_store_add(w->store, s->media[k].path, s->media[k].is_video))) : 0;
        if (rows[k] <= 0)
            return nc_fail(e, NC_EUNSUPPORTED, "the model takes no %s", s->media[k].is_video ? "videos" : "pictures");
    }
    NC_TRY(nc_source_encode(&(nc_source_request){ .tokenizer = w->t, .processor = w->o->processor, .media_token = w->o->media_token, .text = nc_sample_question(s), .media_rows = rows,
                                                  .media_count = s->media_count }, a, &ids, e));
    *out = ids.media_end < most ? ids.ids : NULL;
    *count = ids.count < most ? ids.count : most;
    if (*out && ids.count > most) {
        w->x->cut++;
        if (ids.ids[ids.count - 1] == w->eos)
            ids.ids[most - 1] = w->eos;
    }
    return 0;
}

static int make_source(nc_making *w, const nc_sample *s, nc_error *e)
{
    nc_arena *a = w->x->arena;
    nc_ids answer = { 0 };
    nc_example one = { 0 };
    if (w->o->source_cutoff == 0 && s->media_count != 1)
        return nc_fail(e, NC_EINVAL, "the model reads one picture, the sample has %d", s->media_count);
    if (w->o->source_cutoff > 0) {
        NC_TRY(source_of(w, s, &one.source, &one.source_count, e));
        if (!one.source) {
            w->x->left_out++;
            return 0;
        }
    }
    int status = plain_ids(w, nc_sample_answer(s), w->o->cutoff, &answer, e);
    if (status == 0) {
        int n = (int)answer.n;
        int32_t *ids = NC_NEW_ARRAY(a, int32_t, n + 1);
        ids[0] = w->o->decoder_start;
        if (n > 1)
            memcpy(ids + 1, answer.p, sizeof *ids * (size_t)(n - 1));
        one.ids = ids;
        one.targets = nc_arena_copy(a, answer.p, sizeof *ids * (size_t)n);
        one.count = n;
        one.media = nc_example_media(w, s);
        one.media_count = s->media_count;
        nc_example_add(w, one);
    }
    nc_ids_free(&answer);
    return status;
}

/* Only the last run of ones stays. */
static void keep_last_answer(uint8_t *mask, int count)
{
    int end = count;
    while (end > 0 && !mask[end - 1])
        end--;
    int begin = end;
    while (begin > 0 && mask[begin - 1])
        begin--;
    memset(mask, 0, (size_t)begin);
}

static int make_chat(nc_making *w, const nc_sample *s, nc_error *e)
{
    nc_arena *a = w->x->arena;
    int *media = nc_example_media(w, s), *rows = NC_NEW_ARRAY(a, int, s->media_count + 1);
    const nc_visual **shapes = NC_NEW_ARRAY(a, const nc_visual *, s->media_count + 1);
    int pictures = 0;
    for (int k = 0; k < s->media_count; k++)
        pictures += !s->media[k].is_video;
    for (int k = 0; k < s->media_count; k++) {
        nc_visual *shape = NC_NEW(a, nc_visual);
        *shape = *nc_media_store_shape(w->store, media[k]);
        shape->pictures = pictures;
        shapes[k] = shape;
        rows[k] = w->o->rows ? w->o->rows(w->o->rows_context, shapes[k]) : 0;
        if (rows[k] <= 0)
            return nc_fail(e, NC_EUNSUPPORTED, "the model takes no %s", s->media[k].is_video ? "videos" : "pictures");
    }
    nc_conversation_request r = { .messages = s->messages, .tools = s->tools, .media_rows = rows, .media = shapes, .media_count = s->media_count, .train = true };
    nc_conversation_ids ids;
    NC_TRY(nc_conversation_encode(w->c, a, &r, &ids, e));
    if (ids.count > w->o->cutoff) {
        if (w->o->cutoff < ids.media_end) {
            w->x->left_out++;
            return 0;
        }
        w->x->cut++;
        ids.count = w->o->cutoff;
    }
    if (w->o->mask_history)
        keep_last_answer(ids.mask, ids.count);
    add_example(w, ids.ids, next_targets(a, ids.ids, w->o->train_on_prompt ? NULL : ids.mask, ids.count), ids.count, media, s->media_count);
    return 0;
}

int nc_examples_make(const nc_dataset *d, const nc_conversation *c, const nc_tokenizer *t, nc_media_store *store, const nc_example_options *o, nc_examples **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_examples *x = NC_NEW(a, nc_examples);
    x->arena = a;
    nc_making w = { c, t, store, o, x, 0, t ? nc_tokenizer_special_id(t, "eos") : -1 };
    int status = 0;
    static int (*const make[])(nc_making *w, const nc_sample *s, nc_error *e) = {
        [NC_EXAMPLE_CHAT] = make_chat, [NC_EXAMPLE_TEXT] = make_text, [NC_EXAMPLE_PAIR] = make_pair, [NC_EXAMPLE_SOURCE] = make_source, [NC_EXAMPLE_LABELS] = nc_example_make_labels,
        [NC_EXAMPLE_PIECES] = nc_example_make_pieces,
    };
    for (int i = 0; i < d->count && status == 0; i++) {
        const nc_sample *s = &d->samples[i];
        if ((o->kind == NC_EXAMPLE_CHAT || o->kind == NC_EXAMPLE_SOURCE) && !s->messages)
            status = nc_fail(e, NC_EINVAL, "the sample is a running text, not a conversation; train it with stage: pt");
        else
            status = make[o->kind](&w, s, e);
        if (status < 0)
            nc_fail_in(e, "%s:%d", s->file, s->line);
    }
    if (status == 0 && x->count == 0)
        status = nc_fail(e, NC_EINVAL, "none of %d samples carries a token with loss within cutoff_len %d", d->count, o->cutoff);
    if (status < 0) {
        nc_examples_free(x);
        return status;
    }
    *out = x;
    return 0;
}

void nc_examples_free(nc_examples *x)
{
    if (!x)
        return;
    free(x->item);
    nc_arena_free(x->arena);
}
