/* golden_training.c - trainers against what the tokenizers library's trainers made of golden/tokenizers/training/corpus.txt.
 *
 * Files with repeat_equal hold the exact vocabulary and merges; the others hold what several of the reference's runs agree on (its order of new affixed symbols is that of a hash map).
 */
#include "text/golden_training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/golden_lines.h"
#include "text/train.h"

static int feed(nc_trainer *t, nc_str corpus, nc_error *e)
{
    for (size_t at = 0; at < corpus.n;) {
        const char *end = memchr(corpus.p + at, '\n', corpus.n - at);
        size_t n = end ? (size_t)(end - corpus.p) - at : corpus.n - at;
        NC_TRY(nc_trainer_feed(t, (nc_str){ corpus.p + at, n }, e));
        at += n + 1;
    }
    return NC_OK;
}

static int train(nc_arena *a, const nc_json *golden, nc_str corpus, nc_json **tree, nc_error *e)
{
    const nc_json *trainer = nc_json_get(golden, "trainer"), *special = nc_json_get(trainer, "special_tokens");
    const char **names = NC_NEW_ARRAY(a, const char *, (special ? special->count : 0) + 1);
    static const char *const types[] = { "BpeTrainer", "WordPieceTrainer", "UnigramTrainer", "WordLevelTrainer" };
    nc_trainer_options o = { .special = names };
    for (int i = 0; i < NC_COUNT(types); i++)
        if (!strcmp(nc_json_string(nc_json_get(trainer, "type"), "BpeTrainer"), types[i]))
            o.model = (nc_trainer_model)i;
    NC_JSON_EACH(item, special)
        names[o.special_count++] = nc_json_string(item, "");
    o.vocab_size = (int32_t)nc_json_int(nc_json_get(trainer, "vocab_size"), 0);
    o.min_frequency = nc_json_int(nc_json_get(trainer, "min_frequency"), 0);
    o.min_frequency = o.min_frequency ? o.min_frequency : -1;
    o.normalizer = nc_json_get(golden, "normalizer");
    o.pretokenizer = nc_json_get(golden, "pre_tokenizer");
    o.no_byte_alphabet = !nc_json_get(trainer, "initial_alphabet") || nc_json_is(nc_json_get(trainer, "initial_alphabet"), NC_JSON_NULL);
    o.unk = nc_json_string(nc_json_get(trainer, "unk_token"), NULL);
    o.shrinking_factor = nc_json_double(nc_json_get(trainer, "shrinking_factor"), 0);
    o.sub_iterations = (int)nc_json_int(nc_json_get(trainer, "n_sub_iterations"), 0);
    o.max_piece_length = (int32_t)nc_json_int(nc_json_get(trainer, "max_piece_length"), 0);
    o.prefix = nc_json_string(nc_json_get(trainer, "continuing_subword_prefix"), NULL);
    o.suffix = nc_json_string(nc_json_get(trainer, "end_of_word_suffix"), NULL);
    o.max_token_length = (int32_t)nc_json_int(nc_json_get(trainer, "max_token_length"), 0);
    nc_trainer *t;
    NC_TRY(nc_trainer_new(&o, &t, e));
    int status = feed(t, corpus, e);
    if (status >= 0)
        status = nc_trainer_finish(t, a, tree, e);
    nc_trainer_free(t);
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
    const nc_json *m = nc_json_path(tree, "model.merges") ? nc_json_path(tree, "model.merges")->first : NULL;
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
    const int64_t size = nc_json_int(nc_json_get(golden, "vocab_size"), vocab->count);
    nc_map *have = nc_map_new((size_t)vocab->count);
    bool ok = size == vocab->count;
    if (!ok)
        snprintf(detail, 200, "%d tokens, want %lld", vocab->count, (long long)size);
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

/* Pieces and their scores; the reference's own runs differ by what `spread` says. */
static bool compare_scores(const nc_json *golden, const nc_json *tree, char detail[200])
{
    const nc_json *want = nc_json_get(golden, "vocab"), *have = nc_json_path(tree, "model.vocab");
    const double allowed = 1e-6 + 4 * nc_json_double(nc_json_path(golden, "spread.max_score_difference"), 0);
    const int64_t surely = nc_json_int(nc_json_path(golden, "spread.pieces_in_all_runs"), want->count);
    nc_map *index = nc_map_new((size_t)have->count);
    double *score = nc_xmalloc(sizeof *score * (size_t)(have->count + 1)), worst = 0;
    int64_t n = 0, shared = 0, i;
    NC_JSON_EACH(pair, have) {
        nc_map_set(index, nc_json_at(pair, 0)->text, n);
        score[n++] = nc_json_double(nc_json_at(pair, 1), 0);
    }
    NC_JSON_EACH(pair, want)
        if (nc_map_get(index, nc_json_at(pair, 0)->text, &i)) {
            shared++;
            worst = fmax(worst, fabs(score[i] - nc_json_double(nc_json_at(pair, 1), 0)));
        }
    nc_map_free(index);
    free(score);
    snprintf(detail, 200, "%lld of %d pieces (%d here), scores differ by up to %.3g of %.3g", (long long)shared, want->count, have->count, worst, allowed);
    return shared >= surely && have->count <= nc_json_int(nc_json_path(golden, "spread.pieces_in_any_run"), want->count) && worst <= allowed;
}

/* The lines whose characters all occur at least three times in the corpus: what the Unigram case was trained on. */
static void common_lines(nc_str corpus, nc_buf *out)
{
    nc_map *counts = nc_map_new(4096);
    uint32_t c;
    size_t n, from = 0;
    for (size_t at = 0; at < corpus.n; at += n) {
        int64_t count = 0;
        n = (size_t)nc_utf8_decode(corpus.p + at, corpus.n - at, &c);
        nc_map_get(counts, (nc_str){ corpus.p + at, n }, &count);
        nc_map_set(counts, (nc_str){ corpus.p + at, n }, count + 1);
    }
    bool common = true;
    for (size_t at = 0; at < corpus.n; at += n) {
        int64_t count = 0;
        n = (size_t)nc_utf8_decode(corpus.p + at, corpus.n - at, &c);
        nc_map_get(counts, (nc_str){ corpus.p + at, n }, &count);
        common = common && count >= 3;
        if (c == '\n' || at + n == corpus.n) {
            if (common)
                nc_buf_add(out, corpus.p + from, at + n - from);
            from = at + n;
            common = true;
        }
    }
    nc_map_free(counts);
}

static void run_case(const char *folder, const char *name, nc_str corpus, nc_golden_fn *report, void *context)
{
    nc_arena *a = nc_arena_new();
    nc_buf common = { 0 };
    nc_json *golden = NULL, *tree;
    nc_error e = { 0 };
    char detail[200] = "";
    bool ok = false;
    int status = nc_json_load(a, nc_path_join(a, folder, name), &golden, &e);
    const bool unigram = status == 0 && !strcmp(nc_json_string(nc_json_path(golden, "trainer.type"), ""), "UnigramTrainer");
    if (unigram)
        common_lines(corpus, &common);
    if (status < 0 || train(a, golden, unigram ? (nc_str){ common.p, common.n } : corpus, &tree, &e) < 0)
        snprintf(detail, sizeof detail, "%.190s", e.message);
    else if (unigram)
        ok = compare_scores(golden, tree, detail);
    else if (nc_json_bool(nc_json_get(golden, "repeat_equal"), false))
        ok = compare_exact(golden, tree, detail);
    else
        ok = compare_common(golden, tree, detail);
    report(context, name, ok, !ok, detail);
    nc_buf_free(&common);
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
        if (nc_ends_with(names[i], ".json") && strcmp(names[i], "golden.json"))
            run_case(folder, names[i], (nc_str){ corpus.p, corpus.n }, report, context);
    }
    nc_buf_free(&corpus);
    nc_arena_free(a);
    return status;
}
