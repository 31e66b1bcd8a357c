/* gguf_tokenizer.c - a tokenizer as GGUF's arrays: tokens in id order, their types, merges or scores, special ids, the chat template.
 *
 * Byte-level BPE is llama.cpp's "gpt2" with the pre-tokenizer it knows by name (load/gguf_cuttings.h); BPE with byte fallback is "llama", whose scores are minus the ids
 * where the model has merges, as its converter gives them; WordPiece is "bert", Unigram "t5". Types: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte.
 */
#include <string.h>

#include "load/gguf_cuttings.h"
#include "load/gguf_names.h"
#include "quant/gguf_meta.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

static void merges(nc_gguf_meta *meta, nc_arena *a, const nc_json *list)
{
    nc_str *text = NC_NEW_ARRAY(a, nc_str, (list ? list->count : 0) + 1);
    int64_t n = 0;
    NC_JSON_EACH(item, list) {
        const nc_json *left = nc_json_at(item, 0), *right = nc_json_at(item, 1);
        text[n++] = nc_json_is(item, NC_JSON_STRING) ? item->text : nc_str_of(nc_arena_printf(a, "%s %s", nc_json_string(left, ""), nc_json_string(right, "")));
    }
    nc_gguf_set_strings(meta, "tokenizer.ggml.merges", text, n);
}

static bool is_byte_token(nc_str s) { return s.n == 6 && !memcmp(s.p, "<0x", 3) && s.p[5] == '>'; }

#define WORD_START "\xe2\x96\x81"

/* The entry [piece, score, type] of a list of pieces, NULL where the vocabulary is none. */
static const nc_json **entries_of(nc_arena *a, const nc_json *vocab, int rows)
{
    if (!nc_json_is(vocab, NC_JSON_ARRAY))
        return NULL;
    const nc_json **entry = NC_NEW_ARRAY(a, const nc_json *, rows + 1);
    int i = 0;
    NC_JSON_EACH(item, vocab)
        if (i < rows)
            entry[i++] = item;
    return entry;
}

/* bert writes a word's start as U+2581 and the piece, a continuation bare. */
static nc_str word_piece(nc_arena *a, nc_str s)
{
    if (s.n > 2 && s.p[0] == '#' && s.p[1] == '#')
        return (nc_str){ s.p + 2, s.n - 2 };
    return nc_str_of(nc_arena_printf(a, WORD_START "%.*s", (int)s.n, s.p));
}

static int32_t unknown_of(const nc_loaded *l, const nc_json *model)
{
    const nc_json *token = nc_json_get(model, "unk_token");
    const int32_t said = nc_tokenizer_special_id(l->tokenizer, "unk");
    return said >= 0 ? said : nc_json_is(token, NC_JSON_STRING) ? nc_tokenizer_id(l->tokenizer, token->text) : (int32_t)nc_json_int(nc_json_get(model, "unk_id"), -1);
}

static void vocabulary(nc_gguf_meta *meta, nc_arena *a, const nc_loaded *l, const char *kind, const nc_json *model)
{
    const nc_json *vocab = nc_json_get(model, "vocab");
    const int size = nc_tokenizer_vocab_size(l->tokenizer), unknown = unknown_of(l, model);
    const int rows = l->model->vocab_size > size ? l->model->vocab_size : size;      /* llama.cpp wants a token for every row of the table */
    const bool scored = !strcmp(kind, "llama") || !strcmp(kind, "t5"), pieces = !strcmp(kind, "bert");
    nc_str *text = NC_NEW_ARRAY(a, nc_str, rows + 1);
    int32_t *type = NC_NEW_ARRAY(a, int32_t, rows + 1);
    float *score = NC_NEW_ARRAY(a, float, rows + 1);
    const nc_json **entry = entries_of(a, vocab, rows);
    for (int i = 0; i < rows; i++) {
        const nc_json *own = entry && entry[i] ? nc_json_at(entry[i], 2) : NULL;
        text[i] = i < size ? nc_tokenizer_token(l->tokenizer, i) : (nc_str){ NULL, 0 };
        type[i] = nc_tokenizer_is_special(l->tokenizer, i) ? CONTROL : nc_tokenizer_is_added(l->tokenizer, i) ? USER_DEFINED : NORMAL;
        score[i] = entry ? entry[i] ? (float)nc_json_double(nc_json_at(entry[i], 1), 0) : -1000 : -(float)i;
        if (!text[i].p) {
            text[i] = nc_str_of(nc_arena_printf(a, "[PAD%d]", i));
            type[i] = UNUSED;
        } else if (own)
            type[i] = (int32_t)nc_json_int(own, NORMAL);
        else if (scored && is_byte_token(text[i]))
            type[i] = BYTE;
        else if (scored && i == unknown)
            type[i] = UNKNOWN;
        else if (pieces && type[i] == NORMAL)
            text[i] = word_piece(a, text[i]);
    }
    nc_gguf_set_strings(meta, "tokenizer.ggml.tokens", text, rows);
    nc_gguf_set_numbers(meta, "tokenizer.ggml.token_type", NC_GGUF_I32, type, rows);
    if (unknown >= 0)
        nc_gguf_set_int(meta, "tokenizer.ggml.unknown_token_id", NC_GGUF_U32, unknown);
    if (scored)
        nc_gguf_set_numbers(meta, "tokenizer.ggml.scores", NC_GGUF_F32, score, rows);
}

/* A part of a type in a normalizer or pre-tokenizer, in whatever sequences. */
static const nc_json *part_of(const nc_json *tree, const char *type)
{
    if (!strcmp(nc_json_string(nc_json_get(tree, "type"), ""), type))
        return tree;
    const nc_json *found = NULL;
    NC_JSON_EACH(v, tree)
        if (!found && (nc_json_is(v, NC_JSON_OBJECT) || nc_json_is(v, NC_JSON_ARRAY)))
            found = part_of(v, type);
    return found;
}

static int charsmap(nc_gguf_meta *meta, const nc_json *normalizer, nc_error *e)
{
    const nc_json *own = nc_json_get(part_of(normalizer, "SentencePiece"), "precompiled_charsmap"), *map = nc_json_get(part_of(normalizer, "Precompiled"), "precompiled_charsmap");
    nc_buf bytes = { 0 };
    map = own ? own : map;
    if (!nc_json_is(map, NC_JSON_STRING) || !map->text.n)
        return 0;
    int status = nc_base64_decode(map->text, &bytes, e);
    if (status == 0 && bytes.n)
        nc_gguf_set_numbers(meta, "tokenizer.ggml.precompiled_charsmap", NC_GGUF_U8, bytes.p, (int64_t)bytes.n);
    nc_buf_free(&bytes);
    return status;
}

/* What happens to blanks: does a text begin with one, are several one. */
static int blanks(nc_gguf_meta *meta, const nc_loaded *l, const char *kind, const nc_json *normalizer, nc_error *e)
{
    const nc_json *own = part_of(normalizer, "SentencePiece"), *bert = part_of(normalizer, "BertNormalizer");
    nc_ids one = { 0 }, two = { 0 };
    if (!strcmp(kind, "bert")) {
        nc_gguf_set_int(meta, "tokenizer.ggml.normalizer.lowercase", NC_GGUF_BOOL, nc_json_bool(nc_json_get(bert, "lowercase"), false));
        return 0;
    }
    int status = nc_tokenizer_encode(l->tokenizer, NC_STR("a"), 0, &one, e);
    nc_str first = one.n ? nc_tokenizer_token(l->tokenizer, one.p[0]) : (nc_str){ "", 0 };
    const bool scored = !strcmp(kind, "llama") || !strcmp(kind, "t5");
    const bool prefix = own ? nc_json_bool(nc_json_get(own, "add_dummy_prefix"), true) : first.n && nc_starts_with(first.p, scored ? WORD_START : "\xc4\xa0");
    one.n = 0;
    if (status == 0)
        status = nc_tokenizer_encode(l->tokenizer, NC_STR("a  a"), 0, &one, e);
    if (status == 0)
        status = nc_tokenizer_encode(l->tokenizer, NC_STR("a a"), 0, &two, e);
    const bool extra = own ? nc_json_bool(nc_json_get(own, "remove_extra_whitespaces"), true) : one.n == two.n && !memcmp(one.p, two.p, one.n * sizeof *one.p);
    nc_ids_free(&one);
    nc_ids_free(&two);
    if (scored || prefix)
        nc_gguf_set_int(meta, "tokenizer.ggml.add_space_prefix", NC_GGUF_BOOL, prefix);
    if (!strcmp(kind, "t5") || (own && extra))
        nc_gguf_set_int(meta, "tokenizer.ggml.remove_extra_whitespaces", NC_GGUF_BOOL, extra);
    return status;
}

static void specials(nc_gguf_meta *meta, const nc_loaded *l)
{
    static const struct { const char *what, *key; } ids[] = {
        { "bos", "tokenizer.ggml.bos_token_id" }, { "eos", "tokenizer.ggml.eos_token_id" }, { "unk", "tokenizer.ggml.unknown_token_id" }, { "pad", "tokenizer.ggml.padding_token_id" },
        { "cls", "tokenizer.ggml.cls_token_id" }, { "sep", "tokenizer.ggml.seperator_token_id" }, { "mask", "tokenizer.ggml.mask_token_id" },
    };
    for (int i = 0; i < NC_COUNT(ids); i++) {
        int32_t id = nc_tokenizer_special_id(l->tokenizer, ids[i].what);
        if (id >= 0)
            nc_gguf_set_int(meta, ids[i].key, NC_GGUF_U32, id);
    }
    const char *chat = nc_tokenizer_chat_template(l->tokenizer, NULL);
    if (chat)
        nc_gguf_set_string(meta, "tokenizer.chat_template", nc_str_of(chat));
}

/* The one token that the post-processor puts before a text, and the one behind it; -1: none. */
static int ends_of(const nc_loaded *l, int32_t *begin, int32_t *end, nc_error *e)
{
    nc_ids plain = { 0 }, whole = { 0 };
    int status = nc_tokenizer_encode(l->tokenizer, NC_STR("a"), 0, &plain, e);
    if (status == 0)
        status = nc_tokenizer_encode(l->tokenizer, NC_STR("a"), NC_ENCODE_SPECIAL, &whole, e);
    const bool before = whole.n > plain.n && plain.n && whole.p[0] != plain.p[0];
    *begin = before ? whole.p[0] : -1;
    *end = whole.n > plain.n + before ? whole.p[whole.n - 1] : -1;
    nc_ids_free(&plain);
    nc_ids_free(&whole);
    return status;
}

/* The keys of the tokens around a text; the ids where the tokenizer's files name none. */
static void write_ends(nc_gguf_meta *meta, const nc_loaded *l, const char *kind, int32_t begin, int32_t end)
{
    const bool bert = !strcmp(kind, "bert");
    if (begin >= 0 && (bert || nc_tokenizer_special_id(l->tokenizer, "bos") != begin))
        nc_gguf_set_int(meta, bert ? "tokenizer.ggml.cls_token_id" : "tokenizer.ggml.bos_token_id", NC_GGUF_U32, begin);
    if (end >= 0 && (bert || nc_tokenizer_special_id(l->tokenizer, "eos") != end))
        nc_gguf_set_int(meta, bert ? "tokenizer.ggml.seperator_token_id" : "tokenizer.ggml.eos_token_id", NC_GGUF_U32, end);
    if (bert)
        return;
    nc_gguf_set_int(meta, "tokenizer.ggml.add_bos_token", NC_GGUF_BOOL, begin >= 0);
    if (end >= 0 || !strcmp(kind, "t5"))
        nc_gguf_set_int(meta, "tokenizer.ggml.add_eos_token", NC_GGUF_BOOL, end >= 0);
}

/* llama.cpp's word for a kind of vocabulary; "none" where it has no such kind. */
static const char *kind_of(const nc_json *model)
{
    const char *type = nc_json_string(nc_json_get(model, "type"), nc_json_get(model, "merges") ? "BPE" : "");
    if (!strcmp(type, "SentencePieceBPE") || (!strcmp(type, "BPE") && nc_json_bool(nc_json_get(model, "byte_fallback"), false)))
        return "llama";
    return !strcmp(type, "BPE") ? "gpt2" : !strcmp(type, "WordPiece") ? "bert" : !strcmp(type, "Unigram") ? "t5" : "none";
}

static int write_vocabulary(nc_gguf_meta *meta, nc_arena *a, const nc_loaded *l, const nc_json *tree, nc_error *e)
{
    const nc_json *model = nc_json_get(tree, "model"), *normalizer = nc_json_get(tree, "normalizer");
    const char *kind = kind_of(model);
    int32_t begin, end;
    nc_gguf_set_string(meta, "tokenizer.ggml.model", nc_str_of(kind));
    if (!strcmp(kind, "none"))
        return 0;
    nc_gguf_set_string(meta, "tokenizer.ggml.pre", nc_str_of(strcmp(kind, "gpt2") ? "default" : nc_gguf_cutting_name(a, nc_json_get(tree, "pre_tokenizer"))));
    vocabulary(meta, a, l, kind, model);
    if (!strcmp(kind, "gpt2"))
        merges(meta, a, nc_json_get(model, "merges"));
    specials(meta, l);
    NC_TRY(charsmap(meta, normalizer, e));
    NC_TRY(blanks(meta, l, kind, normalizer, e));
    NC_TRY(ends_of(l, &begin, &end, e));
    write_ends(meta, l, kind, begin, end);
    return 0;
}

/* The vocabulary of a folder that has it in its GGUF file alone. */
static int copy_vocabulary(nc_gguf_meta *meta, const char *file, nc_error *e)
{
    nc_gguf *g;
    NC_TRY(nc_gguf_open(file, &g, e));
    for (int i = 0; i < nc_gguf_keys(g); i++)
        if (nc_starts_with(nc_gguf_key(g, i)->key, "tokenizer."))
            nc_gguf_set_value(meta, nc_gguf_key(g, i)->key, nc_gguf_key(g, i));
    nc_gguf_close(g);
    return 0;
}

int nc_gguf_meta_tokenizer(nc_gguf_meta *meta, const nc_loaded *l, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    const bool alone = !nc_is_dir(l->folder);
    const char *file = alone ? l->folder : nc_path_join(a, l->folder, nc_gguf_files[NC_GGUF_MODEL]);
    nc_json *tree = NULL;
    int status = l->tokenizer && !alone ? nc_tokenizer_tree(a, l->folder, &tree, e) : 0;
    if (status == 0 && tree)
        status = write_vocabulary(meta, a, l, tree, e);
    else if (status == 0 && l->tokenizer && nc_file_exists(file))
        status = copy_vocabulary(meta, file, e);
    else if (status == 0)
        nc_gguf_set_string(meta, "tokenizer.ggml.model", NC_STR("none"));
    nc_arena_free(a);
    return status;
}
