/* golden_tokenizer.c - runs the cases of one folder of golden/tokenizers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/golden_lines.h"
#include "text/golden_training.h"
#include "text/spm.h"
#include "text/tokenizer_internal.h"

struct run {
    const char *folder, *data;
    int (*gguf)(const char *file, nc_tokenizer **out, nc_error *e);
    nc_golden_fn *report;
    void *context;
};

static bool same_ids(const nc_json *want, const int32_t *ids, size_t n)
{
    if (!nc_json_is(want, NC_JSON_ARRAY) || (size_t)want->count != n)
        return false;
    size_t i = 0;
    NC_JSON_EACH(item, want)
        if (nc_json_int(item, -9) != ids[i++])
            return false;
    return true;
}

static void spell(nc_buf *b, const int32_t *ids, size_t n)
{
    nc_buf_clear(b);
    for (size_t i = 0; i < n && i < 40; i++)
        nc_buf_printf(b, "%s%d", i ? "," : "[", ids[i]);
    nc_buf_adds(b, n ? "]" : "[]");
}

static void check_ids(nc_golden_file *f, const char *what, nc_str text, const nc_json *want, const int32_t *ids, size_t n)
{
    nc_buf got = { 0 }, need = { 0 };
    bool ok = same_ids(want, ids, n);
    if (!ok) {
        spell(&got, ids, n);
        nc_json_write(&need, want, 0);
    }
    nc_golden_count(f, ok, "%s of \"%.60s\": got %.150s, want %.150s", what, text.p, got.p, need.p);
    nc_buf_free(&got);
    nc_buf_free(&need);
}

static void check_text(nc_golden_file *f, const char *what, const nc_json *want, const nc_tokenizer *t, const nc_json *ids, bool skip)
{
    nc_ids list = { 0 };
    nc_buf text = { 0 };
    NC_JSON_EACH(item, ids)
        nc_ids_add(&list, (int32_t)nc_json_int(item, -1));
    nc_tokenizer_decode(t, list.p, list.n, skip, &text);
    nc_golden_count(f, nc_str_eq(want->text, (nc_str){ text.p, text.n }), "%s: got \"%.200s\", want \"%.200s\"", what, text.p ? text.p : "", want->text.p);
    nc_ids_free(&list);
    nc_buf_free(&text);
}

static void check_offsets(nc_golden_file *f, nc_str text, const nc_json *want, const nc_encoding *x)
{
    size_t i = 0;
    bool ok = (size_t)want->count == x->n;
    char where[120] = "count";
    NC_JSON_EACH(item, want) {
        if (!ok)
            break;
        bool start_only = nc_json_is(item, NC_JSON_NUMBER);      /* tiktoken tells where tokens begin */
        int64_t begin = nc_json_int(start_only ? item : nc_json_at(item, 0), -1), end = start_only ? x->end[i] : nc_json_int(nc_json_at(item, 1), -1);
        if (begin != x->begin[i] || end != x->end[i]) {
            snprintf(where, sizeof where, "token %zu: got [%u,%u], want [%lld,%lld]", i, x->begin[i], x->end[i], (long long)begin, (long long)end);
            ok = false;
        }
        i++;
    }
    nc_golden_count(f, ok, "offsets of \"%.80s\": %s", text.p, where);
}

/* Spellings of the tokens; an added token's own is not compared where blanks around it were swallowed into it. */
static void check_tokens(nc_golden_file *f, const nc_tokenizer *t, const nc_json *want, const nc_encoding *x)
{
    size_t i = 0;
    bool ok = (size_t)want->count == x->n;
    NC_JSON_EACH(item, want) {
        if (!ok)
            break;
        nc_str token = nc_tokenizer_token(t, x->ids[i]);
        ok = nc_str_eq(token, item->text) || nc_tokenizer_is_added(t, x->ids[i]) || x->ids[i] == nc_tokenizer_special_id(t, "unk");
        i++;
    }
    nc_golden_count(f, ok, "tokens: token %zu", i);
}

enum { NEVER_SPECIAL = 1 << 16 };        /* the reference had no special tokens at all */

/* One line of cases.jsonl. flags: a model file tells offsets in bytes, and neither it nor ranks look for special tokens in plain text. */
static void run_case(nc_golden_file *f, const nc_tokenizer *t, const nc_json *v, unsigned flags)
{
    const nc_json *text = nc_json_get(v, "text"), *ids = nc_json_get(v, "ids"), *special = nc_json_get(v, "ids_special");
    nc_error e = { 0 };
    nc_encoding x = { 0 };
    if (!nc_json_is(text, NC_JSON_STRING))
        return;
    if (nc_tokenizer_encode_full(t, text->text, NULL, NC_ENCODE_OFFSETS | (flags & ~(unsigned)NEVER_SPECIAL), &x, &e) < 0) {
        nc_golden_count(f, false, "encode: %s", e.message);
        nc_encoding_free(&x);
        return;
    }
    check_ids(f, "ids", text->text, ids, x.ids, x.n);
    if (nc_json_get(v, "offsets"))
        check_offsets(f, text->text, nc_json_get(v, "offsets"), &x);
    if (nc_json_get(v, "tokens"))
        check_tokens(f, t, nc_json_get(v, "tokens"), &x);
    nc_ids list = { 0 };
    if (special && nc_tokenizer_encode(t, text->text, NC_ENCODE_SPECIAL | (flags & (NC_ENCODE_BYTES | NEVER_SPECIAL) ? NC_ENCODE_PLAIN : 0), &list, &e) >= 0)
        check_ids(f, "ids_special", text->text, special, list.p, list.n);
    if (nc_json_is(nc_json_get(v, "decoded"), NC_JSON_STRING))
        check_text(f, "decoded", nc_json_get(v, "decoded"), t, ids, false);
    if (nc_json_is(nc_json_get(v, "decoded_skip_special"), NC_JSON_STRING))
        check_text(f, "decoded_skip_special", nc_json_get(v, "decoded_skip_special"), t, special, true);
    nc_ids_free(&list);
    nc_encoding_free(&x);
}

static bool same_bytes(const nc_json *want, const uint8_t *have, size_t n)
{
    size_t i = 0;
    bool ok = !want || (size_t)want->count == n;
    NC_JSON_EACH(item, ok ? want : NULL)
        ok = ok && nc_json_int(item, -1) == have[i++];
    return ok;
}

static void run_pair(nc_golden_file *f, const nc_tokenizer *t, const nc_json *v)
{
    const nc_json *text = nc_json_get(v, "text"), *pair = nc_json_get(v, "pair");
    nc_error e = { 0 };
    nc_encoding x = { 0 };
    if (nc_tokenizer_encode_full(t, text->text, &pair->text, NC_ENCODE_OFFSETS | NC_ENCODE_SPECIAL, &x, &e) < 0) {
        nc_golden_count(f, false, "encode: %s", e.message);
        nc_encoding_free(&x);
        return;
    }
    check_ids(f, "ids", text->text, nc_json_get(v, "ids"), x.ids, x.n);
    check_offsets(f, text->text, nc_json_get(v, "offsets"), &x);
    nc_golden_count(f, same_bytes(nc_json_get(v, "type_ids"), x.type, x.n), "type_ids of \"%.60s\"", text->text.p);
    nc_golden_count(f, same_bytes(nc_json_get(v, "special_tokens_mask"), x.special, x.n), "special_tokens_mask of \"%.60s\"", text->text.p);
    size_t i = 0;
    bool ok = true;
    NC_JSON_EACH(item, nc_json_get(v, "sequence_ids")) {
        ok = ok && i < x.n && x.sequence[i] == (item->type == NC_JSON_NULL ? -1 : nc_json_int(item, -2));
        i++;
    }
    nc_golden_count(f, ok, "sequence_ids of \"%.60s\"", text->text.p);
    nc_encoding_free(&x);
}

static void run_stream(nc_golden_file *f, const nc_tokenizer *t, const nc_json *v)
{
    nc_detok *d = nc_detok_new(t, true);
    nc_buf piece = { 0 }, all = { 0 };
    const nc_json *want = nc_json_get(v, "pieces");
    want = want ? want->first : NULL;
    bool ok = true;
    int at = 0;
    NC_JSON_EACH(id, nc_json_get(v, "ids")) {
        nc_buf_clear(&piece);
        bool some = nc_detok_add(d, (int32_t)nc_json_int(id, -1), &piece);
        nc_str expected = nc_json_is(want, NC_JSON_STRING) ? want->text : (nc_str){ "", 0 };
        if (ok && (some != nc_json_is(want, NC_JSON_STRING) || !nc_str_eq((nc_str){ piece.p ? piece.p : "", piece.n }, expected)))
            ok = false;
        else
            at += ok;
        nc_buf_add(&all, piece.p ? piece.p : "", piece.n);
        want = want ? want->next : NULL;
    }
    nc_golden_count(f, ok, "piece %d", at);
    nc_detok_flush(d, &all);
    const nc_json *decoded = nc_json_get(v, "decoded");
    if (nc_json_is(decoded, NC_JSON_STRING))
        nc_golden_count(f, nc_str_eq(decoded->text, (nc_str){ all.p ? all.p : "", all.n }), "joined: got \"%.100s\", want \"%.100s\"", all.p ? all.p : "", decoded->text.p);
    nc_detok_free(d);
    nc_buf_free(&piece);
    nc_buf_free(&all);
}

static void run_partial(nc_golden_file *f, const nc_tokenizer *t, const nc_json *v)
{
    check_text(f, "decoded", nc_json_get(v, "decoded_replace"), t, nc_json_get(v, "ids"), false);
}

enum kind { CASES, PAIRS, STREAM, PARTIAL };

static void run_file(const struct run *r, nc_arena *a, const nc_tokenizer *t, const char *name, enum kind kind, unsigned flags)
{
    nc_golden_file f;
    nc_error e = { 0 };
    nc_json *v;
    const char *path = nc_path_join(a, r->folder, name);
    if (!nc_file_exists(path))
        return;
    int status = nc_golden_open(&f, path, &e);
    if (status < 0) {
        r->report(r->context, name, 0, 1, e.message);
        return;
    }
    while ((status = nc_golden_next(&f, &v, &e)) > 0) {
        if (kind == CASES)
            run_case(&f, t, v, flags);
        else if (kind == PAIRS)
            run_pair(&f, t, v);
        else if (kind == PARTIAL)
            run_partial(&f, t, v);
        else
            run_stream(&f, t, v);
    }
    if (status < 0)
        nc_golden_count(&f, false, "%s", e.message);
    nc_golden_close(&f, name, r->report, r->context);
}

int nc_golden_charsmap(nc_arena *a, nc_json *v, const char *model, nc_error *e)
{
    nc_buf bytes = { 0 };
    nc_json *parsed;
    int status = nc_file_read(model, (size_t)64 << 20, &bytes, e);
    if (status >= 0)
        status = nc_spm_parse(a, (nc_str){ bytes.p ? bytes.p : "", bytes.n }, model, &parsed, e);
    nc_buf_free(&bytes);
    if (status >= 0)
        nc_json_set(a, v, "precompiled_charsmap", nc_json_clone(a, nc_json_path(parsed, "normalizer.precompiled_charsmap")));
    return status;
}

static int load_filled(nc_arena *a, const char *json, const char *model, nc_tokenizer **out, nc_error *e)
{
    nc_json *tree;
    NC_TRY(nc_json_load(a, json, &tree, e));
    nc_json *first = (nc_json *)(uintptr_t)nc_json_at(nc_json_path(tree, "normalizer.normalizers"), 0);
    const char *map = nc_json_string(nc_json_get(first, "precompiled_charsmap"), "");
    if (nc_starts_with(map, "FROM"))
        NC_TRY(nc_golden_charsmap(a, first, model, e));
    return nc_tokenizer_from_json(tree, NULL, json, out, e);
}

/* Whether the tokenizer a folder is about was loaded; else the reason is reported. */
static bool loaded(const struct run *r, int status, const char *name, const nc_error *e)
{
    if (status >= 0)
        return true;
    bool skip = e->code == NC_EUNSUPPORTED || e->code == NC_ENOTFOUND;
    r->report(r->context, name, 0, !skip, e->message);
    return false;
}

static void run_json(const struct run *r, nc_arena *a, const char *json, const char *model, const char *cases)
{
    nc_tokenizer *t = NULL;
    nc_error e = { 0 };
    if (loaded(r, load_filled(a, json, model, &t, &e), cases, &e)) {
        run_file(r, a, t, cases, CASES, 0);
        run_file(r, a, t, "pairs.jsonl", PAIRS, 0);
        run_file(r, a, t, "stream.jsonl", STREAM, 0);
    }
    nc_tokenizer_free(t);
}

static void run_plain(const struct run *r, nc_arena *a, const nc_json *golden)
{
    const char *json = nc_path_join(a, r->folder, "tokenizer.json"), *model = nc_path_join(a, r->folder, "tokenizer.model");
    const char *ranks = nc_path_join(a, r->folder, "ranks.tiktoken");
    bool has_model = nc_file_exists(model), has_ranks = nc_file_exists(ranks);
    nc_tokenizer *t = NULL;
    nc_error e = { 0 };
    if (nc_file_exists(json))
        run_json(r, a, json, model, has_model ? "cases_json.jsonl" : "cases.jsonl");
    if (!has_model && !has_ranks)
        return;
    if (loaded(r, nc_tokenizer_load_as(has_model ? model : ranks, has_model ? NULL : golden, &t, &e), "cases.jsonl", &e)) {
        run_file(r, a, t, "cases.jsonl", CASES, NC_ENCODE_PLAIN | (has_model ? NC_ENCODE_BYTES : 0));
        run_file(r, a, t, "partial.jsonl", PARTIAL, 0);
    }
    nc_tokenizer_free(t);
}

/* What the notes of golden.json say in words: the class of files without a configuration, and the special tokens of Qwen2's merges. */
static nc_json *config_for(nc_arena *a, const char *name)
{
    static const char qwen2[] = "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"added_tokens_decoder\": {\"151643\": {\"content\": \"<|endoftext|>\", \"special\": true},"
                                "\"151644\": {\"content\": \"<|im_start|>\", \"special\": true}, \"151645\": {\"content\": \"<|im_end|>\", \"special\": true}}}";
    static const char clip[] = "{\"tokenizer_class\": \"CLIPTokenizer\"}";
    nc_error e = { 0 };
    nc_json *v = NULL;
    if (!strcmp(name, "qwen2"))
        nc_json_parse(a, NC_STR(qwen2), "qwen2", &v, &e);
    else if (!strcmp(name, "clip"))
        nc_json_parse(a, NC_STR(clip), "clip", &v, &e);
    return v;
}

/* real/: golden.json names the files below the data folder. */
static void run_real(const struct run *r, nc_arena *a, const nc_json *golden)
{
    NC_JSON_EACH(item, nc_json_get(golden, "tokenizers")) {
        const char *name = nc_arena_printf(a, "%s.jsonl", item->key.p), *library = nc_json_string(nc_json_get(item, "library"), "");
        const char *file = nc_json_string(nc_json_at(nc_json_get(item, "files"), 0), "");
        const char *path = nc_path_join(a, r->data ? r->data : ".", file);
        if (!nc_file_exists(path)) {
            r->report(r->context, name, 0, 0, nc_arena_printf(a, "%s is absent", path));
            continue;
        }
        const bool is_gguf = nc_ends_with(file, ".gguf");
        if (is_gguf && !r->gguf) {
            r->report(r->context, name, 0, 0, nc_arena_printf(a, "%s: no reader of vocabularies inside GGUF", file));
            continue;
        }
        unsigned flags = nc_starts_with(library, "sentencepiece") ? NC_ENCODE_PLAIN | NC_ENCODE_BYTES : nc_starts_with(library, "tiktoken") ? NC_ENCODE_PLAIN : 0;
        if (strstr(nc_json_string(nc_json_get(item, "note"), ""), "no special tokens registered"))
            flags |= NC_ENCODE_PLAIN | NEVER_SPECIAL;
        nc_tokenizer *t = NULL;
        nc_error e = { 0 };
        const nc_json *config = config_for(a, item->key.p);
        if (loaded(r, is_gguf ? r->gguf(path, &t, &e) : nc_tokenizer_load_as(path, config, &t, &e), name, &e))
            run_file(r, a, t, name, CASES, flags);
        nc_tokenizer_free(t);
    }
}

int nc_golden_tokenizer(const char *folder, const char *data, int (*gguf)(const char *file, nc_tokenizer **out, nc_error *e), nc_golden_fn *report, void *context, nc_error *e)
{
    struct run r = { folder, data, gguf, report, context };
    nc_arena *a = nc_arena_new();
    nc_json *golden = NULL;
    int status = nc_json_load(a, nc_path_join(a, folder, "golden.json"), &golden, e);
    if (status >= 0) {
        if (nc_json_get(golden, "tokenizers"))
            run_real(&r, a, golden);
        else if (nc_file_exists(nc_path_join(a, folder, "corpus.txt")))
            status = nc_golden_training(folder, report, context, e);
        else if (nc_file_exists(nc_path_join(a, folder, "normalizers.jsonl")))
            nc_golden_parts(folder, report, context);
        else if (!strcmp(nc_path_base(folder), "truncation-padding"))
            status = nc_golden_batches(folder, report, context, e);
        else
            run_plain(&r, a, golden);
    }
    nc_arena_free(a);
    return status;
}
