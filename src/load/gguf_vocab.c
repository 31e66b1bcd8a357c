/* gguf_vocab.c - the vocabulary inside a GGUF file becomes a tree like tokenizer.json's, so that building and lookups are text/'s own.
 *
 * Token types are sentencepiece's (1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte). Easy to get wrong: bert writes a word's start as U+2581 + piece and
 * a continuation bare, the reverse of "##"; a gpt2 vocabulary says by a name only how its texts are cut.
 * Source: ggml's docs/gguf.md (tokenizer keys); the pre-tokenizers are those of the models' own tokenizer.json files.
 */
#include "load/gguf_vocab.h"

#include <string.h>

#include "load/gguf_cuttings.h"

#define WORD_START "\xe2\x96\x81"
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

typedef struct vocab {
    nc_arena *a;
    const nc_gguf *g;
    const char *file;
    const nc_str *token;
    const nc_gguf_value *type, *score;
    int64_t count;
} vocab;

static nc_json *text(nc_arena *a, const char *s) { return nc_json_new_string(a, nc_str_of(s)); }

static nc_json *typed(nc_arena *a, const char *type)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", text(a, type));
    return v;
}

static void flag(nc_arena *a, nc_json *v, const char *key, bool on) { nc_json_set(a, v, key, nc_json_new_bool(a, on)); }

static int64_t type_of(const vocab *v, int64_t i) { return v->type ? nc_gguf_item_int(v->type, i) : NORMAL; }

/* A node under a key that is known to be new. */
static void append(nc_json *to, nc_json **last, nc_str key, nc_json *item)
{
    item->key = key;
    if (*last)
        (*last)->next = item;
    else
        to->first = item;
    *last = item;
    to->count++;
}

static int open_vocab(nc_arena *a, const nc_gguf *g, const char *file, vocab *v, nc_error *e)
{
    const nc_gguf_value *tokens = nc_gguf_get(g, "tokenizer.ggml.tokens");
    *v = (vocab){ .a = a, .g = g, .file = file, .type = nc_gguf_get(g, "tokenizer.ggml.token_type"), .score = nc_gguf_get(g, "tokenizer.ggml.scores") };
    if (!tokens)
        return nc_fail(e, NC_ENOTFOUND, "%s: no vocabulary (tokenizer.ggml.tokens)", file);
    if (tokens->type != NC_GGUF_ARRAY || !tokens->strings || tokens->count > INT32_MAX)
        return nc_fail(e, NC_EFORMAT, "%s: tokenizer.ggml.tokens is no array of strings", file);
    v->token = tokens->strings;
    v->count = tokens->count;
    if ((v->type && v->type->count != v->count) || (v->score && v->score->count != v->count))
        return nc_fail(e, NC_EFORMAT, "%s: %lld tokens, but %lld types and %lld scores", file, (long long)v->count, (long long)(v->type ? v->type->count : 0), (long long)(v->score ? v->score->count : 0));
    return 0;
}

/* Control tokens, the unknown one, and those users defined. */
static nc_json *added_tokens(const vocab *v)
{
    nc_json *list = nc_json_new(v->a, NC_JSON_ARRAY), *last = NULL;
    for (int64_t i = 0; i < v->count; i++) {
        int64_t type = type_of(v, i);
        if (type != CONTROL && type != USER_DEFINED && type != UNKNOWN)
            continue;
        nc_json *one = nc_json_new(v->a, NC_JSON_OBJECT);
        nc_json_set(v->a, one, "id", nc_json_new_int(v->a, i));
        nc_json_set(v->a, one, "content", nc_json_new_string(v->a, v->token[i]));
        flag(v->a, one, "special", type != USER_DEFINED);
        flag(v->a, one, "normalized", false);
        append(list, &last, (nc_str){ NULL, 0 }, one);
    }
    return list;
}

static int64_t id_of(const vocab *v, const char *what)
{
    int64_t id = nc_gguf_int(v->g, nc_arena_printf(v->a, "tokenizer.ggml.%s_token_id", what), -1);
    return id >= 0 && id < v->count ? id : -1;
}

/* Special tokens around a text, as the add_..._token keys say. */
static nc_json *post_processor(const vocab *v, bool begin, int64_t bos, bool end, int64_t eos)
{
    nc_json *p = typed(v->a, "TemplateProcessing"), *tokens = nc_json_new(v->a, NC_JSON_OBJECT);
    for (int pair = 0; pair < 2; pair++) {
        nc_json *list = nc_json_new(v->a, NC_JSON_ARRAY);
        for (int side = 0; side <= pair; side++)
            for (int k = 0; k < 3; k++) {
                int64_t id = k == 0 ? bos : eos;
                if ((k == 0 && (!begin || bos < 0)) || (k == 2 && (!end || eos < 0)))
                    continue;
                nc_json *item = nc_json_new(v->a, NC_JSON_OBJECT), *inner = nc_json_new(v->a, NC_JSON_OBJECT);
                nc_json_set(v->a, inner, "id", k == 1 ? text(v->a, side ? "B" : "A") : nc_json_new_string(v->a, v->token[id]));
                nc_json_set(v->a, inner, "type_id", nc_json_new_int(v->a, side));
                nc_json_set(v->a, item, k == 1 ? "Sequence" : "SpecialToken", inner);
                nc_json_append(list, item);
                const char *name = k == 1 ? NULL : nc_arena_strndup(v->a, v->token[id].p, v->token[id].n);
                if (!name || nc_json_get(tokens, name))
                    continue;
                nc_json *token = nc_json_new(v->a, NC_JSON_OBJECT), *ids = nc_json_new(v->a, NC_JSON_ARRAY);
                nc_json_append(ids, nc_json_new_int(v->a, id));
                nc_json_set(v->a, token, "id", nc_json_new_string(v->a, v->token[id]));
                nc_json_set(v->a, token, "ids", ids);
                nc_json_set(v->a, tokens, name, token);
            }
        nc_json_set(v->a, p, pair ? "pair" : "single", list);
    }
    nc_json_set(v->a, p, "special_tokens", tokens);
    return p;
}

static nc_json *vocab_object(const vocab *v)
{
    nc_json *out = nc_json_new(v->a, NC_JSON_OBJECT), *last = NULL;
    for (int64_t i = 0; i < v->count; i++)
        append(out, &last, v->token[i], nc_json_new_int(v->a, i));
    return out;
}

static int cut_by_name(const vocab *v, nc_json *tree, nc_error *e)
{
    const char *name = nc_gguf_string(v->g, "tokenizer.ggml.pre", "default");
    const nc_gguf_cutting *c = nc_gguf_cutting_of(name);
    if (!c)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: the pre-tokenizer \"%s\" is not known; use the model's tokenizer.json", v->file, name);
    nc_json *sequence = typed(v->a, "Sequence"), *list = nc_json_new(v->a, NC_JSON_ARRAY), *bytes = typed(v->a, "ByteLevel");
    const bool prefix = nc_gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", false), alone = prefix && c == nc_gguf_cutting_of("gpt-2");   /* the blank comes before the cut */
    for (int i = 0; i < NC_GGUF_CUTS && c->step[i] && !alone; i++) {
        nc_json *split = typed(v->a, "Split"), *pattern = nc_json_new(v->a, NC_JSON_OBJECT);
        nc_json_set(v->a, pattern, "Regex", text(v->a, c->step[i]));
        nc_json_set(v->a, split, "pattern", pattern);
        nc_json_set(v->a, split, "behavior", text(v->a, "Isolated"));
        flag(v->a, split, "invert", false);
        nc_json_append(list, split);
    }
    flag(v->a, bytes, "add_prefix_space", prefix);
    flag(v->a, bytes, "trim_offsets", false);
    flag(v->a, bytes, "use_regex", alone);
    nc_json_append(list, bytes);
    nc_json_set(v->a, sequence, "pretokenizers", list);
    nc_json_set(v->a, tree, "pre_tokenizer", sequence);
    nc_json_set(v->a, tree, "normalizer", c->nfc ? typed(v->a, "NFC") : nc_json_new(v->a, NC_JSON_NULL));
    return 0;
}

static int byte_level(const vocab *v, nc_json *tree, nc_error *e)
{
    const nc_gguf_value *merges = nc_gguf_get(v->g, "tokenizer.ggml.merges");
    nc_json *model = typed(v->a, "BPE"), *list = nc_json_new(v->a, NC_JSON_ARRAY), *last = NULL, *decoder = typed(v->a, "ByteLevel");
    if (!merges || !merges->strings)
        return nc_fail(e, NC_EFORMAT, "%s: a gpt2 vocabulary without tokenizer.ggml.merges", v->file);
    for (int64_t i = 0; i < merges->count; i++)
        append(list, &last, (nc_str){ NULL, 0 }, nc_json_new_string(v->a, merges->strings[i]));
    nc_json_set(v->a, model, "vocab", vocab_object(v));
    nc_json_set(v->a, model, "merges", list);
    NC_TRY(cut_by_name(v, tree, e));
    flag(v->a, decoder, "add_prefix_space", false);
    flag(v->a, decoder, "trim_offsets", false);
    flag(v->a, decoder, "use_regex", false);
    nc_json_set(v->a, tree, "decoder", decoder);
    nc_json_set(v->a, tree, "model", model);
    /* Without special tokens around a text: the library's usual post-processor, whose offsets leave out the blank before a word. */
    const bool begins = nc_gguf_bool(v->g, "tokenizer.ggml.add_bos_token", false), ends = nc_gguf_bool(v->g, "tokenizer.ggml.add_eos_token", false);
    nc_json *post = typed(v->a, "ByteLevel");
    flag(v->a, post, "add_prefix_space", true);
    flag(v->a, post, "trim_offsets", true);
    flag(v->a, post, "use_regex", false);
    nc_json_set(v->a, tree, "post_processor", begins || ends ? post_processor(v, begins, id_of(v, "bos"), ends, id_of(v, "eos")) : post);
    return 0;
}

/* llama (BPE by scores) and t5 (Unigram): sentencepiece's own parts, as a .model file's tree has them (text/spm.h). */
static int sentencepiece(const vocab *v, const char *kind, nc_json *tree, nc_error *e)
{
    const bool unigram = !strcmp(kind, "Unigram"), prefix = nc_gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", true);
    const bool extra = nc_gguf_bool(v->g, "tokenizer.ggml.remove_extra_whitespaces", unigram);
    nc_json *model = typed(v->a, kind), *norm = typed(v->a, "SentencePiece"), *dec = typed(v->a, "SentencePiece");
    nc_json *list = nc_json_new(v->a, NC_JSON_ARRAY), *user = nc_json_new(v->a, NC_JSON_ARRAY), *last = NULL, *shared = nc_json_new(v->a, NC_JSON_ARRAY);
    const nc_gguf_value *map = nc_gguf_get(v->g, "tokenizer.ggml.precompiled_charsmap");
    nc_buf base64 = { 0 };
    int64_t unk = id_of(v, "unknown");
    bool bytes = false;
    if (!v->score || !v->type)
        return nc_fail(e, NC_EFORMAT, "%s: a sentencepiece vocabulary needs tokenizer.ggml.scores and token_type", v->file);
    for (int64_t i = 0; i < v->count; i++) {
        nc_json *item = nc_json_new(v->a, NC_JSON_ARRAY);
        nc_json_append(item, nc_json_new_string(v->a, v->token[i]));
        nc_json_append(item, nc_json_new_double(v->a, nc_gguf_item_double(v->score, i)));
        nc_json_append(item, nc_json_new_int(v->a, type_of(v, i)));
        append(list, &last, (nc_str){ NULL, 0 }, item);
        bytes = bytes || type_of(v, i) == BYTE;
        unk = unk < 0 && type_of(v, i) == UNKNOWN ? i : unk;
        if (type_of(v, i) == USER_DEFINED)
            nc_json_append(user, nc_json_new_string(v->a, v->token[i]));
    }
    const bool has_map = map && map->type == NC_GGUF_ARRAY && map->numbers && (map->item == NC_GGUF_U8 || map->item == NC_GGUF_I8);
    nc_buf_base64(&base64, has_map ? map->numbers : "", has_map ? (size_t)map->count : 0);
    nc_json_set(v->a, norm, "precompiled_charsmap", text(v->a, base64.p ? nc_arena_strdup(v->a, base64.p) : ""));
    nc_buf_free(&base64);
    flag(v->a, norm, "add_dummy_prefix", prefix);
    flag(v->a, norm, "remove_extra_whitespaces", extra);
    flag(v->a, norm, "escape_whitespaces", true);
    flag(v->a, norm, "suffix", false);
    nc_json_set(v->a, norm, "user_defined", user);
    flag(v->a, dec, "strip", prefix || extra);
    flag(v->a, dec, "strip_all", extra);
    flag(v->a, dec, "suffix", false);
    nc_json_set(v->a, dec, "unk_surface", text(v->a, " \xe2\x81\x87 "));
    nc_json_set(v->a, dec, "vocab", list);
    *shared = *list;
    nc_json_set(v->a, model, "vocab", shared);
    nc_json_set(v->a, model, "unk_id", nc_json_new_int(v->a, unk));
    flag(v->a, model, "byte_fallback", bytes);
    nc_json_set(v->a, tree, "normalizer", norm);
    nc_json_set(v->a, tree, "model", model);
    nc_json_set(v->a, tree, "decoder", dec);
    nc_json_set(v->a, tree, "post_processor", post_processor(v, nc_gguf_bool(v->g, "tokenizer.ggml.add_bos_token", !unigram), id_of(v, "bos"),
                                                             nc_gguf_bool(v->g, "tokenizer.ggml.add_eos_token", unigram), id_of(v, "eos")));
    return 0;
}

static bool has_capitals(nc_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return true;
    return false;
}

static int word_pieces(const vocab *v, nc_json *tree)
{
    nc_json *model = typed(v->a, "WordPiece"), *norm = typed(v->a, "BertNormalizer"), *decoder = typed(v->a, "WordPiece"), *words = nc_json_new(v->a, NC_JSON_OBJECT), *last = NULL;
    const size_t mark = strlen(WORD_START);
    int64_t unk = id_of(v, "unknown"), cls = id_of(v, "cls"), sep = id_of(v, "seperator"), capitals = 0;
    cls = cls < 0 ? id_of(v, "bos") : cls;
    sep = sep < 0 ? id_of(v, "eos") : sep;
    for (int64_t i = 0; i < v->count; i++) {
        nc_str s = v->token[i];
        bool first = s.n >= mark && !memcmp(s.p, WORD_START, mark), normal = type_of(v, i) == NORMAL && (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']');
        const char *piece = first ? nc_arena_strndup(v->a, s.p + mark, s.n - mark) : normal ? nc_arena_printf(v->a, "##%.*s", (int)s.n, s.p) : nc_arena_strndup(v->a, s.p, s.n);
        append(words, &last, nc_str_of(piece), nc_json_new_int(v->a, i));
        capitals += normal && has_capitals(s);
    }
    nc_json_set(v->a, model, "unk_token", unk >= 0 ? nc_json_new_string(v->a, v->token[unk]) : text(v->a, "[UNK]"));
    nc_json_set(v->a, model, "continuing_subword_prefix", text(v->a, "##"));
    nc_json_set(v->a, model, "max_input_chars_per_word", nc_json_new_int(v->a, 100));
    nc_json_set(v->a, model, "vocab", words);
    flag(v->a, norm, "clean_text", true);
    flag(v->a, norm, "handle_chinese_chars", true);
    nc_json_set(v->a, norm, "strip_accents", nc_json_new(v->a, NC_JSON_NULL));
    flag(v->a, norm, "lowercase", nc_gguf_bool(v->g, "tokenizer.ggml.normalizer.lowercase", capitals == 0));
    nc_json_set(v->a, decoder, "prefix", text(v->a, "##"));
    flag(v->a, decoder, "cleanup", true);
    nc_json_set(v->a, tree, "normalizer", norm);
    nc_json_set(v->a, tree, "pre_tokenizer", typed(v->a, "BertPreTokenizer"));
    nc_json_set(v->a, tree, "decoder", decoder);
    nc_json_set(v->a, tree, "model", model);
    nc_json_set(v->a, tree, "post_processor", post_processor(v, true, cls, true, sep));
    return 0;
}

/* The special tokens and the chat template, as tokenizer_config.json would say them. */
static nc_json *config_of(const vocab *v)
{
    static const char *const names[][2] = { { "bos", "bos_token" }, { "eos", "eos_token" }, { "unknown", "unk_token" }, { "padding", "pad_token" }, { "cls", "cls_token" },
                                            { "seperator", "sep_token" }, { "mask", "mask_token" } };
    nc_json *config = nc_json_new(v->a, NC_JSON_OBJECT);
    const char *chat = nc_gguf_string(v->g, "tokenizer.chat_template", NULL);
    for (int i = 0; i < NC_COUNT(names); i++) {
        int64_t id = id_of(v, names[i][0]);
        if (id >= 0)
            nc_json_set(v->a, config, names[i][1], nc_json_new_string(v->a, v->token[id]));
    }
    if (chat)
        nc_json_set(v->a, config, "chat_template", text(v->a, chat));
    return config;
}

int nc_gguf_vocab(const nc_gguf *g, const char *file, nc_tokenizer **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    const char *kind = nc_gguf_string(g, "tokenizer.ggml.model", "");
    nc_json *tree = nc_json_new(a, NC_JSON_OBJECT);
    vocab v;
    int status = open_vocab(a, g, file, &v, e);
    if (status == 0) {
        nc_json_set(a, tree, "added_tokens", added_tokens(&v));
        status = !strcmp(kind, "gpt2") ? byte_level(&v, tree, e) : !strcmp(kind, "llama") ? sentencepiece(&v, "SentencePieceBPE", tree, e)
               : !strcmp(kind, "t5") ? sentencepiece(&v, "Unigram", tree, e) : !strcmp(kind, "bert") ? word_pieces(&v, tree)
               : nc_fail(e, NC_EUNSUPPORTED, "%s: a vocabulary of the kind \"%s\" is not read; gpt2, llama, bert and t5 are", file, kind);
    }
    if (status == 0)
        status = nc_tokenizer_from_json(tree, config_of(&v), file, out, e);
    nc_arena_free(a);
    return status;
}

int nc_gguf_vocab_open(const char *file, nc_tokenizer **out, nc_error *e)
{
    nc_gguf *g;
    NC_TRY(nc_gguf_open(file, &g, e));
    int status = nc_gguf_vocab(g, file, out, e);
    nc_gguf_close(g);
    return status;
}
