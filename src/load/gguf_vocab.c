/* gguf_vocab.c - the vocabulary inside a GGUF file becomes a tree like tokenizer.json's, so that building and lookups are text/'s own.
 *
 * Token types are sentencepiece's (1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte). Easy to get wrong: bert writes a word's start as U+2581 + piece and
 * a continuation bare, the reverse of "##"; a gpt2 vocabulary says by a name only how its texts are cut.
 * Source: ggml's docs/gguf.md (tokenizer keys); the pre-tokenizers are those of the models' own tokenizer.json files.
 */
#include "load/gguf_vocab.h"

#include <string.h>

#define WORD_START "\xe2\x96\x81"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
#define LETTERS "A-Za-z\xc2\xb5\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}" \
    "\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}" \
    "\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}" \
    "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}" \
    "\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}" \
    "\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}" \
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}" \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

enum { MOST_STEPS = 6 };
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

/* How texts are cut, step after step, by the name in tokenizer.ggml.pre. nfc: the model's own tokenizer composes characters first. */
static const struct cutting { const char *names; bool nfc; const char *step[MOST_STEPS]; } cuttings[] = {
    { "gpt-2 mpt olmo jais roberta-bpe phi-2 trillion default gpt-neox", false, { GPT2 } },
    { "llama-bpe llama3 llama-v3 smaug-bpe dbrx falcon3 falcon-h1 pixtral glm4 chatglm-bpe lfm2", false, { LLAMA3_HEAD "\\p{N}{1,3}" LLAMA3_TAIL } },
    { "qwen2 deepseek-r1-qwen megrez stablelm2", true, { LLAMA3_HEAD "\\p{N}" LLAMA3_TAIL } },
    { "starcoder refact command-r smollm codeshell exaone minerva-7b", false, { "\\p{N}", GPT2 } },
    { "deepseek-llm", false, { "[\\r\\n]", "\\s?[" LETTERS "]+", "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+", "\\s+$",
        "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}+" } },
    { "deepseek-coder", false, { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}" } },
    { "deepseek-v3 hunyuan-dense", false, { "\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { "gpt-4o llama4", false, { CASED "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { "tekken", false, { "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
        "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { "falcon", false, { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]" } },
};

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

static bool lists(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = strstr(names, name); at && n; at = strstr(at + 1, name))
        if ((at == names || at[-1] == ' ') && (at[n] == 0 || at[n] == ' '))
            return true;
    return false;
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

/* Control tokens, and those users defined; bert's unknown too. */
static nc_json *added_tokens(const vocab *v)
{
    nc_json *list = nc_json_new(v->a, NC_JSON_ARRAY), *last = NULL;
    for (int64_t i = 0; i < v->count; i++) {
        int64_t type = type_of(v, i);
        if (type != CONTROL && type != USER_DEFINED)
            continue;
        nc_json *one = nc_json_new(v->a, NC_JSON_OBJECT);
        nc_json_set(v->a, one, "id", nc_json_new_int(v->a, i));
        nc_json_set(v->a, one, "content", nc_json_new_string(v->a, v->token[i]));
        flag(v->a, one, "special", type == CONTROL);
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
    const struct cutting *c = NULL;
    for (int i = 0; i < NC_COUNT(cuttings) && !c; i++)
        c = lists(cuttings[i].names, name) ? &cuttings[i] : NULL;
    if (!c)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: the pre-tokenizer \"%s\" is not known; use the model's tokenizer.json", v->file, name);
    nc_json *sequence = typed(v->a, "Sequence"), *list = nc_json_new(v->a, NC_JSON_ARRAY), *bytes = typed(v->a, "ByteLevel");
    for (int i = 0; i < MOST_STEPS && c->step[i]; i++) {
        nc_json *split = typed(v->a, "Split"), *pattern = nc_json_new(v->a, NC_JSON_OBJECT);
        nc_json_set(v->a, pattern, "Regex", text(v->a, c->step[i]));
        nc_json_set(v->a, split, "pattern", pattern);
        nc_json_set(v->a, split, "behavior", text(v->a, "Isolated"));
        flag(v->a, split, "invert", false);
        nc_json_append(list, split);
    }
    flag(v->a, bytes, "add_prefix_space", nc_gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", false));
    flag(v->a, bytes, "trim_offsets", false);
    flag(v->a, bytes, "use_regex", false);
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
