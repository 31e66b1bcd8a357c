/* train.c - what every trainer does: texts through normalizer and pre-tokenizer into counted words, and the tree around the learned model. */
#include <stdlib.h>
#include <string.h>

#include "text/train_parts.h"

#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* A model's usual parts of tokenizer.json; BPE's follow from the options. */
static const struct kind {
    const char *name;
    int (*learn)(nc_trainer *t, nc_arena *a, nc_json **model, nc_error *e);
    const char *unk, *normalizer, *pretokenizer, *decoder;
} kinds[] = {
    [NC_TRAIN_BPE] = { "bpe", nc_train_bpe, NULL, NULL, NULL, NULL },
    [NC_TRAIN_WORDPIECE] = { "wordpiece", nc_train_bpe, "[UNK]",
        "{\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, \"strip_accents\": null, \"lowercase\": false}",
        "{\"type\": \"BertPreTokenizer\"}", "{\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}" },
    [NC_TRAIN_UNIGRAM] = { "unigram", nc_train_unigram, "<unk>", "{\"type\": \"NFKC\"}",
        "{\"type\": \"Metaspace\", \"replacement\": \"\xe2\x96\x81\", \"prepend_scheme\": \"always\", \"split\": true}",
        "{\"type\": \"Metaspace\", \"replacement\": \"\xe2\x96\x81\", \"prepend_scheme\": \"always\", \"split\": true}" },
    [NC_TRAIN_WORDLEVEL] = { "wordlevel", nc_train_wordlevel, "[UNK]", "null", "{\"type\": \"Whitespace\"}", "null" },
};

bool nc_trainer_model_by_name(const char *name, nc_trainer_model *out)
{
    for (int i = 0; i < NC_COUNT(kinds); i++)
        if (!strcmp(kinds[i].name, name)) {
            *out = (nc_trainer_model)i;
            return true;
        }
    return false;
}

nc_json *nc_train_text(nc_arena *a, const char *s)
{
    return s ? nc_json_new_string(a, nc_str_of(nc_arena_strdup(a, s))) : nc_json_new(a, NC_JSON_NULL);
}

static nc_json *byte_level(nc_arena *a, bool regex)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", nc_train_text(a, "ByteLevel"));
    nc_json_set(a, v, "add_prefix_space", nc_json_new_bool(a, false));
    nc_json_set(a, v, "trim_offsets", nc_json_new_bool(a, false));
    nc_json_set(a, v, "use_regex", nc_json_new_bool(a, regex));
    return v;
}

static nc_json *pretokenizer(nc_arena *a, const char *pattern)
{
    if (!pattern || !strcmp(pattern, "gpt2"))
        return byte_level(a, true);
    const char *regex = !strcmp(pattern, "qwen2") ? LLAMA3_HEAD "\\p{N}" LLAMA3_TAIL : !strcmp(pattern, "llama3") ? LLAMA3_HEAD "\\p{N}{1,3}" LLAMA3_TAIL : pattern;
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *list = nc_json_new(a, NC_JSON_ARRAY), *split = nc_json_new(a, NC_JSON_OBJECT);
    nc_json *what = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, what, "Regex", nc_train_text(a, regex));
    nc_json_set(a, split, "type", nc_train_text(a, "Split"));
    nc_json_set(a, split, "pattern", what);
    nc_json_set(a, split, "behavior", nc_train_text(a, "Isolated"));
    nc_json_set(a, split, "invert", nc_json_new_bool(a, false));
    nc_json_append(list, split);
    nc_json_append(list, byte_level(a, false));
    nc_json_set(a, v, "type", nc_train_text(a, "Sequence"));
    nc_json_set(a, v, "pretokenizers", list);
    return v;
}

static nc_json *normalizer(nc_arena *a, bool nfc)
{
    if (!nfc)
        return nc_json_new(a, NC_JSON_NULL);
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", nc_train_text(a, "NFC"));
    return v;
}

/* The part that was given, else the model's usual one, else BPE's. */
static nc_json *part(nc_arena *a, const nc_json *given, const char *usual, nc_json *otherwise)
{
    nc_json *v = NULL;
    if (given)
        return nc_json_clone(a, given);
    return usual && nc_json_parse(a, nc_str_of(usual), "part", &v, NULL) == 0 ? v : otherwise;
}

static bool is_special(const nc_trainer_options *o, const char *token)
{
    for (int i = 0; i < o->special_count; i++)
        if (!strcmp(o->special[i], token))
            return true;
    return false;
}

static int check_options(const nc_trainer_options *o, nc_error *e)
{
    if (o->vocab_size < 0 || o->vocab_size > NC_VOCAB_LIMIT)
        return nc_fail(e, NC_EINVAL, "vocab_size is %d, not between 1 and %d", o->vocab_size, NC_VOCAB_LIMIT);
    if ((o->bos && !is_special(o, o->bos)) || (o->eos && !is_special(o, o->eos)))
        return nc_fail(e, NC_EINVAL, "bos \"%s\" and eos \"%s\" must be among the special tokens", o->bos ? o->bos : "", o->eos ? o->eos : "");
    if ((o->prefix && strlen(o->prefix) > 32) || (o->suffix && strlen(o->suffix) > 32))
        return nc_fail(e, NC_ELIMIT, "prefix and suffix have at most 32 bytes");
    return NC_OK;
}

nc_json *nc_train_token(nc_arena *a, const nc_vocab *v, int32_t id)
{
    nc_str s = nc_vocab_token(v, id);
    return nc_json_new_string(a, (nc_str){ nc_arena_strndup(a, s.p, s.n), s.n });
}

void nc_train_append(nc_json *object, nc_json **last, nc_str key, nc_json *item)
{
    item->key = key;
    if (*last)
        (*last)->next = item;
    else
        object->first = item;
    *last = item;
    object->count++;
}

nc_json *nc_train_vocab(nc_trainer *t, nc_arena *a)
{
    nc_json *vocab = nc_json_new(a, NC_JSON_OBJECT), *last = NULL;
    for (int32_t id = 0; id < nc_vocab_size(t->vocab); id++)
        nc_train_append(vocab, &last, nc_train_token(a, t->vocab, id)->text, nc_json_new_int(a, id));
    return vocab;
}

int32_t nc_train_add(nc_trainer *t, nc_str token)
{
    int32_t id = nc_vocab_id(t->vocab, token);
    if (id < 0) {
        id = nc_vocab_size(t->vocab);
        nc_vocab_set(t->vocab, id, token);
    }
    return id;
}

uint32_t nc_train_next(const nc_trainer *t, nc_str word, size_t *at)
{
    uint32_t c;
    if (t->raw)
        return nc_byte_char[(unsigned char)word.p[(*at)++]];
    *at += (size_t)nc_utf8_decode(word.p + *at, word.n - *at, &c);
    return c;
}

int nc_trainer_new(const nc_trainer_options *options, nc_trainer **out, nc_error *e)
{
    NC_TRY(check_options(options, e));
    nc_trainer *t = nc_xcalloc(1, sizeof *t);
    nc_arena *a = t->arena = nc_arena_new();
    const struct kind *k = &kinds[options->model];
    t->o = *options;
    t->o.unk = t->o.unk ? t->o.unk : k->unk;
    t->words = nc_map_new(1 << 16);
    nc_json *tree = t->tree = nc_json_new(a, NC_JSON_OBJECT), *model;
    nc_json_set(a, tree, "version", nc_train_text(a, "1.0"));
    nc_json_set(a, tree, "truncation", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, tree, "padding", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, tree, "added_tokens", nc_json_new(a, NC_JSON_ARRAY));
    nc_json_set(a, tree, "normalizer", part(a, t->o.normalizer, k->normalizer, normalizer(a, t->o.nfc)));
    nc_json_set(a, tree, "pre_tokenizer", part(a, t->o.pretokenizer, k->pretokenizer, pretokenizer(a, t->o.pattern)));
    nc_json_set(a, tree, "post_processor", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, tree, "decoder", t->o.pretokenizer && !t->o.decoder ? nc_json_new(a, NC_JSON_NULL) : part(a, t->o.decoder, k->decoder, byte_level(a, true)));
    int status = nc_json_parse(a, NC_STR("{\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}"), "model", &model, e);
    nc_json_set(a, tree, "model", model);
    if (status >= 0)
        status = nc_tokenizer_from_json(tree, NULL, NULL, &t->pipeline, e);
    if (status < 0) {
        nc_trainer_free(t);
        return status;
    }
    t->raw = t->pipeline->words_are_bytes;
    *out = t;
    return NC_OK;
}

int nc_trainer_feed(nc_trainer *t, nc_str document, nc_error *e)
{
    if (!nc_utf8_valid(document) || document.n > (size_t)1 << 30)
        return nc_fail(e, NC_EFORMAT, "a training text is not valid UTF-8 or longer than 1 GiB");
    if (!document.n)
        return NC_OK;
    nc_scratch *s = nc_scratch_lend(t->pipeline);
    nc_aligned_set(&s->text, document, 0, false);
    if (t->pipeline->normalizer)
        t->pipeline->normalizer->run(t->pipeline->normalizer, s);
    s->spans.n = 0;
    if (s->text.n)
        nc_spans_add(&s->spans, 0, (uint32_t)s->text.n, true);
    if (t->pipeline->pretokenizer)
        t->pipeline->pretokenizer->run(t->pipeline->pretokenizer, s);
    for (size_t i = 0; i < s->spans.n; i++) {
        nc_str word = { s->text.p + s->spans.p[i].begin, s->spans.p[i].end - s->spans.p[i].begin };
        int64_t count = 0;
        nc_map_get(t->words, word, &count);
        nc_map_set(t->words, word, count + 1);
    }
    nc_scratch_return(t->pipeline, s);
    return NC_OK;
}

static nc_json *post_item(nc_arena *a, const char *kind, const char *id, int type)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *inner = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, inner, "id", nc_train_text(a, id));
    nc_json_set(a, inner, "type_id", nc_json_new_int(a, type));
    nc_json_set(a, v, kind, inner);
    return v;
}

static nc_json *post_processor(nc_trainer *t, nc_arena *a)
{
    if (!t->o.bos && !t->o.eos)
        return t->o.pretokenizer || t->o.model != NC_TRAIN_BPE ? nc_json_new(a, NC_JSON_NULL) : byte_level(a, true);
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *specials = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", nc_train_text(a, "TemplateProcessing"));
    for (int pair = 0; pair < 2; pair++) {
        nc_json *list = nc_json_new(a, NC_JSON_ARRAY);
        for (int s = 0; s <= pair; s++) {
            if (t->o.bos)
                nc_json_append(list, post_item(a, "SpecialToken", t->o.bos, s));
            nc_json_append(list, post_item(a, "Sequence", s ? "B" : "A", s));
            if (t->o.eos)
                nc_json_append(list, post_item(a, "SpecialToken", t->o.eos, s));
        }
        nc_json_set(a, v, pair ? "pair" : "single", list);
    }
    const char *const names[] = { t->o.bos, t->o.eos };
    for (int i = 0; i < 2; i++) {
        if (!names[i] || (i == 1 && t->o.bos && !strcmp(names[0], names[1])))
            continue;
        nc_json *one = nc_json_new(a, NC_JSON_OBJECT), *ids = nc_json_new(a, NC_JSON_ARRAY), *tokens = nc_json_new(a, NC_JSON_ARRAY);
        nc_json_append(ids, nc_json_new_int(a, nc_vocab_id(t->vocab, nc_str_of(names[i]))));
        nc_json_append(tokens, nc_train_text(a, names[i]));
        nc_json_set(a, one, "id", nc_train_text(a, names[i]));
        nc_json_set(a, one, "ids", ids);
        nc_json_set(a, one, "tokens", tokens);
        nc_json_set(a, specials, names[i], one);
    }
    nc_json_set(a, v, "special_tokens", specials);
    return v;
}

static nc_json *added_tokens(nc_trainer *t, nc_arena *a)
{
    nc_json *list = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < t->o.special_count; i++) {
        nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, v, "id", nc_json_new_int(a, nc_vocab_id(t->vocab, nc_str_of(t->o.special[i]))));
        nc_json_set(a, v, "content", nc_json_new_string(a, nc_str_of(nc_arena_strdup(a, t->o.special[i]))));
        nc_json_set(a, v, "single_word", nc_json_new_bool(a, false));
        nc_json_set(a, v, "lstrip", nc_json_new_bool(a, false));
        nc_json_set(a, v, "rstrip", nc_json_new_bool(a, false));
        nc_json_set(a, v, "normalized", nc_json_new_bool(a, false));
        nc_json_set(a, v, "special", nc_json_new_bool(a, true));
        nc_json_append(list, v);
    }
    return list;
}

int nc_trainer_finish(nc_trainer *t, nc_arena *arena, nc_json **tree, nc_error *e)
{
    nc_json *model;
    if (t->vocab)
        return nc_fail(e, NC_EINVAL, "a trainer finishes once");
    t->vocab = nc_vocab_new(t->arena);
    NC_TRY(kinds[t->o.model].learn(t, arena, &model, e));
    nc_json *out = nc_json_clone(arena, t->tree);
    nc_json_set(arena, out, "added_tokens", added_tokens(t, arena));
    nc_json_set(arena, out, "post_processor", post_processor(t, arena));
    nc_json_set(arena, out, "model", model);
    *tree = out;
    return NC_OK;
}

void nc_trainer_free(nc_trainer *t)
{
    if (!t)
        return;
    nc_tokenizer_free(t->pipeline);
    nc_map_free(t->words);
    nc_vocab_free(t->vocab);
    nc_arena_free(t->arena);
    free(t);
}
