/* gguf_tokenizer.c - tokenizer.json as GGUF's arrays: tokens in id order, their types, merges or scores, special ids, the chat template.
 *
 * Byte-level BPE is llama.cpp's "gpt2" with the pre-tokenizer it knows by name; BPE with byte fallback is "llama", whose scores are minus the ids, as its converter
 * gives them for tokenizers that learned merges. Types: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte.
 */
#include <string.h>

#include "quant/gguf_meta.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

/* All strings of a tree, joined: enough to see which split pattern is in it. */
static void gather(const nc_json *v, nc_buf *out)
{
    if (nc_json_is(v, NC_JSON_STRING)) {
        nc_buf_add(out, v->text.p, v->text.n);
        nc_buf_addc(out, '\n');
    }
    NC_JSON_EACH(item, v)
        gather(item, out);
}

static const char *pretokenizer(const nc_json *tree)
{
    nc_buf b = { 0 };
    const char *name = "default";
    gather(nc_json_get(tree, "pre_tokenizer"), &b);
    if (b.p && strstr(b.p, "\\p{N}{1,3}"))
        name = "llama-bpe";
    else if (b.p && strstr(b.p, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"))
        name = "qwen2";
    else if (b.p && strstr(b.p, "ByteLevel"))
        name = "gpt-2";
    nc_buf_free(&b);
    return name;
}

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

static void vocabulary(nc_gguf_meta *meta, nc_arena *a, const nc_loaded *l, bool fallback)
{
    int size = nc_tokenizer_vocab_size(l->tokenizer), unknown = nc_tokenizer_special_id(l->tokenizer, "unk");
    int rows = l->model->vocab_size > size ? l->model->vocab_size : size;      /* llama.cpp wants a token for every row of the table */
    nc_str *text = NC_NEW_ARRAY(a, nc_str, rows + 1);
    int32_t *type = NC_NEW_ARRAY(a, int32_t, rows + 1);
    float *score = NC_NEW_ARRAY(a, float, rows + 1);
    for (int i = 0; i < rows; i++) {
        text[i] = i < size ? nc_tokenizer_token(l->tokenizer, i) : (nc_str){ NULL, 0 };
        type[i] = nc_tokenizer_is_special(l->tokenizer, i) ? CONTROL : nc_tokenizer_is_added(l->tokenizer, i) ? USER_DEFINED : NORMAL;
        score[i] = -(float)i;
        if (!text[i].p) {
            text[i] = nc_str_of(nc_arena_printf(a, "[PAD%d]", i));
            type[i] = UNUSED;
        } else if (fallback && is_byte_token(text[i]))
            type[i] = BYTE;
        else if (fallback && i == unknown)
            type[i] = UNKNOWN;
    }
    nc_gguf_set_strings(meta, "tokenizer.ggml.tokens", text, rows);
    nc_gguf_set_numbers(meta, "tokenizer.ggml.token_type", NC_GGUF_I32, type, rows);
    if (fallback)
        nc_gguf_set_numbers(meta, "tokenizer.ggml.scores", NC_GGUF_F32, score, rows);
}

static void specials(nc_gguf_meta *meta, const nc_loaded *l)
{
    static const struct { const char *what, *key; } ids[] = {
        { "bos", "tokenizer.ggml.bos_token_id" }, { "eos", "tokenizer.ggml.eos_token_id" }, { "unk", "tokenizer.ggml.unknown_token_id" }, { "pad", "tokenizer.ggml.padding_token_id" },
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

/* What the post-processor puts before a text: an empty text encoded with specials. */
static int begins_with_bos(const nc_loaded *l, bool *begins, nc_error *e)
{
    nc_ids ids = { 0 };
    int status = nc_tokenizer_encode(l->tokenizer, NC_STR("a"), NC_ENCODE_SPECIAL, &ids, e);
    *begins = ids.n && ids.p[0] == nc_tokenizer_special_id(l->tokenizer, "bos");
    nc_ids_free(&ids);
    return status;
}

int nc_gguf_meta_tokenizer(nc_gguf_meta *meta, const nc_loaded *l, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    const char *path = nc_path_join(a, l->folder, "tokenizer.json");
    nc_json *tree = NULL;
    bool begins = false;
    int status = 0;
    if (!l->tokenizer)
        nc_gguf_set_string(meta, "tokenizer.ggml.model", NC_STR("none"));
    if (l->tokenizer && nc_file_exists(path) && (status = nc_json_load(a, path, &tree, e)) == 0) {
        const nc_json *model = nc_json_get(tree, "model");
        const bool fallback = nc_json_bool(nc_json_get(model, "byte_fallback"), false);
        const char *kind = nc_json_string(nc_json_get(model, "type"), "BPE");
        nc_gguf_set_string(meta, "tokenizer.ggml.model", nc_str_of(fallback ? "llama" : strcmp(kind, "BPE") ? "unsupported" : "gpt2"));
        nc_gguf_set_string(meta, "tokenizer.ggml.pre", nc_str_of(pretokenizer(tree)));
        vocabulary(meta, a, l, fallback);
        if (!fallback)
            merges(meta, a, nc_json_get(model, "merges"));
        specials(meta, l);
        status = begins_with_bos(l, &begins, e);
        nc_gguf_set_int(meta, "tokenizer.ggml.add_bos_token", NC_GGUF_BOOL, begins);
    }
    nc_arena_free(a);
    return status;
}
