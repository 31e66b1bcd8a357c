/* golden_training.c - trainers against what the tokenizers library's trainers made of golden/tokenizers/training/corpus.txt.
 *
 * Files with repeat_equal hold the exact vocabulary and merges; the others hold what several of the reference's runs agree on (its order of new affixed symbols is that of a hash map).
 */
#include "text/golden_training.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/golden_lines.h"
#include "text/train_bpe.h"

static int feed(nc_bpe_trainer *t, nc_str corpus, nc_error *e)
{
    for (size_t at = 0; at < corpus.n;) {
        const char *end = memchr(corpus.p + at, '\n', corpus.n - at);
        size_t n = end ? (size_t)(end - corpus.p) - at : corpus.n - at;
        NC_TRY(nc_bpe_trainer_feed(t, (nc_str){ corpus.p + at, n }, e));
        at += n + 1;
    }
    return NC_OK;
}

static int train(nc_arena *a, const nc_json *golden, nc_str corpus, nc_json **tree, nc_error *e)
{
    const nc_json *trainer = nc_json_get(golden, "trainer"), *special = nc_json_get(trainer, "special_tokens");
    const char **names = NC_NEW_ARRAY(a, const char *, (special ? special->count : 0) + 1);
    nc_bpe_options o = { .special = names };
    NC_JSON_EACH(item, special)
        names[o.special_count++] = nc_json_string(item, "");
    o.vocab_size = (int32_t)nc_json_int(nc_json_get(trainer, "vocab_size"), 0);
    o.min_frequency = nc_json_int(nc_json_get(trainer, "min_frequency"), 0);
    o.min_frequency = o.min_frequency ? o.min_frequency : -1;
    o.normalizer = nc_json_get(golden, "normalizer");
    o.pretokenizer = nc_json_get(golden, "pre_tokenizer");
    o.no_byte_alphabet = nc_json_get(trainer, "initial_alphabet")->type == NC_JSON_NULL;
    o.prefix = nc_json_string(nc_json_get(trainer, "continuing_subword_prefix"), NULL);
    o.suffix = nc_json_string(nc_json_get(trainer, "end_of_word_suffix"), NULL);
    o.max_token_length = (int32_t)nc_json_int(nc_json_get(trainer, "max_token_length"), 0);
    nc_bpe_trainer *t;
    NC_TRY(nc_bpe_trainer_new(&o, &t, e));
    int status = feed(t, corpus, e);
    if (status >= 0)
        status = nc_bpe_trainer_finish(t, a, tree, e);
    nc_bpe_trainer_free(t);
    return status;
}

/* The vocabulary in id order and the merges, item by item. */
static bool compare_exact(const nc_json *golden, const nc_json *tree, char detail[200])
{
    const nc_json *have = nc_json_path(tree, "model.vocab"), *want = nc_json_get(golden, "vocab");
    const nc_json *h = have->first;
    int at = 0;
    NC_JSON_EACH(w, want) {
        if (!h || !nc_str_eq(h->key, w->text)) {
            snprintf(detail, 200, "vocab[%d]: got \"%s\", want \"%s\"", at, h ? h->key.p : "nothing", w->text.p);
            return false;
        }
        h = h->next;
        at++;
    }
    const nc_json *merges = nc_json_get(golden, "merges");
    const nc_json *m = nc_json_path(tree, "model.merges")->first;
    at = 0;
    NC_JSON_EACH(w, merges) {
        nc_str left = { "", 0 }, right = { "", 0 };
        if (nc_json_is(w, NC_JSON_ARRAY)) {
            left = w->first->text;
            right = w->first->next->text;
        } else {
            const char *blank = memchr(w->text.p, ' ', w->text.n);
            left = (nc_str){ w->text.p, blank ? (size_t)(blank - w->text.p) : 0 };
            right = blank ? nc_str_of(blank + 1) : left;
        }
        if (!m || !nc_str_eq(m->first->text, left) || !nc_str_eq(m->first->next->text, right)) {
            snprintf(detail, 200, "merges[%d]: want \"%.*s %.*s\"", at, (int)left.n, left.p, (int)right.n, right.p);
            return false;
        }
        m = m->next;
        at++;
    }
    if (have->count != want->count || m)
        snprintf(detail, 200, "%d tokens, want %d", have->count, want->count);
    return have->count == want->count && !m;
}

static bool compare_common(const nc_json *golden, const nc_json *tree, char detail[200])
{
    const nc_json *vocab = nc_json_path(tree, "model.vocab");
    nc_map *have = nc_map_new((size_t)vocab->count);
    bool ok = true;
    NC_JSON_EACH(item, vocab)
        nc_map_set(have, item->key, 1);
    NC_JSON_EACH(w, nc_json_get(golden, "vocab_in_all_runs")) {
        if (!nc_map_get(have, w->text, NULL) && ok) {
            snprintf(detail, 200, "\"%s\" is not in the vocabulary", w->text.p);
            ok = false;
        }
    }
    nc_map_free(have);
    return ok;
}

static void run_bpe(const char *folder, const char *name, nc_str corpus, nc_golden_fn *report, void *context)
{
    nc_arena *a = nc_arena_new();
    nc_json *golden, *tree;
    nc_error e = { 0 };
    char detail[200] = "";
    bool ok = false;
    if (nc_json_load(a, nc_path_join(a, folder, name), &golden, &e) < 0 || train(a, golden, corpus, &tree, &e) < 0)
        snprintf(detail, sizeof detail, "%.190s", e.message);
    else if (nc_json_bool(nc_json_get(golden, "repeat_equal"), false))
        ok = compare_exact(golden, tree, detail);
    else
        ok = compare_common(golden, tree, detail);
    report(context, name, ok, !ok, detail);
    nc_arena_free(a);
}

int nc_golden_training(const char *folder, nc_golden_fn *report, void *context, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_buf corpus = { 0 };
    char **names;
    int count;
    int status = nc_file_read(nc_path_join(a, folder, "corpus.txt"), (size_t)1 << 28, &corpus, e);
    if (status >= 0)
        status = nc_list_dir(a, folder, &names, &count, e);
    for (int i = 0; status >= 0 && i < count; i++) {
        if (nc_starts_with(names[i], "bpe-"))
            run_bpe(folder, names[i], (nc_str){ corpus.p, corpus.n }, report, context);
        else if (nc_ends_with(names[i], ".json") && strcmp(names[i], "golden.json"))
            report(context, names[i], 0, 0, "only BPE tokenizers are trained");
    }
    nc_buf_free(&corpus);
    nc_arena_free(a);
    return status;
}
