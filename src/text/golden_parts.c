/* golden_parts.c - each normalizer, pre-tokenizer and decoder alone, over the same texts (golden/tokenizers/parts).
 *
 * A part is run inside a tokenizer that has nothing else, made from a tree built here.
 */
#include <string.h>

#include "text/golden_lines.h"
#include "text/golden_training.h"
#include "text/tokenizer_internal.h"
#include "text/unicode.h"

static nc_tokenizer *tokenizer_with(nc_arena *a, const char *key, const nc_json *part, nc_error *e)
{
    static const char empty[] = "{\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"?\", \"vocab\": {\"?\": 0}}}";
    nc_json *tree;
    nc_tokenizer *t = NULL;
    if (nc_json_parse(a, NC_STR(empty), "empty", &tree, e) < 0)
        return NULL;
    nc_json_set(a, tree, key, nc_json_clone(a, part));
    return nc_tokenizer_from_json(tree, NULL, NULL, &t, e) < 0 ? NULL : t;
}

static bool run_normalizer(const nc_tokenizer *t, const nc_json *text, const nc_json *want)
{
    nc_scratch *s = nc_scratch_lend(t);
    nc_aligned_set(&s->text, text->text, 0, true);
    if (t->normalizer)
        t->normalizer->run(t->normalizer, s);
    bool ok = nc_str_eq(nc_aligned_str(&s->text), want->text);
    nc_scratch_return(t, s);
    return ok;
}

static bool run_pretokenizer(const nc_tokenizer *t, const nc_json *text, const nc_json *want)
{
    nc_scratch *s = nc_scratch_lend(t);
    nc_aligned_set(&s->text, text->text, 0, true);
    s->spans.n = 0;
    if (text->text.n)
        nc_spans_add(&s->spans, 0, (uint32_t)s->text.n, true);
    if (t->pretokenizer && text->text.n)
        t->pretokenizer->run(t->pretokenizer, s);
    bool ok = want->count == (int)s->spans.n;
    size_t i = 0;
    NC_JSON_EACH(item, ok ? want : NULL) {
        nc_span q = s->spans.p[i++];
        nc_str whole = { text->text.p, s->text.from[q.begin] }, upto = { text->text.p, s->text.to[q.end - 1] };
        ok = ok && nc_str_eq(nc_json_at(item, 0)->text, (nc_str){ s->text.p + q.begin, q.end - q.begin }) &&
             nc_json_int(nc_json_at(item, 1), -1) == (int64_t)nc_utf8_count(whole) &&
             nc_json_int(nc_json_at(item, 2), -1) == (int64_t)nc_utf8_count(upto);
    }
    nc_scratch_return(t, s);
    return ok;
}

static bool run_decoder(const nc_tokenizer *t, const nc_json *list, const nc_json *want)
{
    nc_arena *a = nc_arena_new();
    nc_tokens tokens = { NC_NEW_ARRAY(a, nc_str, list->count + 1), 0, a };
    nc_buf text = { 0 };
    NC_JSON_EACH(item, list)
        tokens.p[tokens.n++] = item->text;
    if (t->decoder)
        t->decoder->run(t->decoder, &tokens);
    for (size_t i = 0; i < tokens.n; i++) {
        if (i > 0 && !t->decoder)
            nc_buf_addc(&text, ' ');
        nc_buf_add(&text, tokens.p[i].p, tokens.p[i].n);
    }
    bool ok = want->type == NC_JSON_NULL || nc_str_eq(want->text, (nc_str){ text.p ? text.p : "", text.n });
    nc_buf_free(&text);
    nc_arena_free(a);
    return ok;
}

/* "of ../x/tokenizer.model" in place of a charsmap: its bytes are that model's. */
static void fill(nc_arena *a, const nc_json *v, const char *folder)
{
    nc_json *part = (nc_json *)(uintptr_t)nc_json_get(v, "normalizer");
    const char *text = nc_json_string(nc_json_get(part, "precompiled_charsmap"), "");
    nc_error e = { 0 };
    if (nc_starts_with(text, "of "))
        nc_golden_charsmap(a, part, nc_path_join(a, folder, text + 3), &e);
}

static void run_kind(const char *folder, const char *file, const char *key, const char *inputs,
                     bool run(const nc_tokenizer *, const nc_json *, const nc_json *), nc_golden_fn *report, void *context)
{
    nc_arena *a = nc_arena_new();
    nc_golden_file f;
    nc_error e = { 0 };
    nc_json *v;
    const nc_json *texts = NULL;
    if (nc_golden_open(&f, nc_path_join(a, folder, file), &e) < 0) {
        report(context, file, 0, 1, e.message);
        nc_arena_free(a);
        return;
    }
    while (nc_golden_next(&f, &v, &e) > 0) {
        if (!texts) {
            texts = nc_json_clone(a, nc_json_get(v, inputs));
            continue;
        }
        nc_error why = { 0 };
        fill(f.arena, v, folder);
        const nc_json *part = nc_json_get(v, key), *want = nc_json_get(v, "out");
        nc_tokenizer *t = tokenizer_with(a, key, part, &why);
        want = want ? want->first : NULL;
        if (!t && why.code != NC_EUNSUPPORTED && why.code != NC_ENOTFOUND)
            nc_golden_count(&f, false, "%s", why.message);
        nc_buf spelling = { 0 };
        nc_json_write(&spelling, part, 0);
        NC_JSON_EACH(text, t ? texts : NULL) {
            if (want)
                nc_golden_count(&f, run(t, text, want), "%.120s on \"%.80s\"", spelling.p, text->text.p ? text->text.p : "list");
            want = want ? want->next : NULL;
        }
        nc_buf_free(&spelling);
        nc_tokenizer_free(t);
    }
    if (e.code)
        nc_golden_count(&f, false, "%s", e.message);
    nc_golden_close(&f, file, report, context);
    nc_arena_free(a);
}

void nc_golden_parts(const char *folder, nc_golden_fn *report, void *context)
{
    run_kind(folder, "normalizers.jsonl", "normalizer", "texts", run_normalizer, report, context);
    run_kind(folder, "pre_tokenizers.jsonl", "pre_tokenizer", "texts", run_pretokenizer, report, context);
    run_kind(folder, "decoders.jsonl", "decoder", "tokens", run_decoder, report, context);
}
