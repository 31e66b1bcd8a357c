/* spm_parse.c - reads sentencepiece's ModelProto (protocol buffers wire format) into a tree like tokenizer.json's.
 *
 * A field is a varint key (number << 3 | wire type) and a value: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. Unknown fields are passed over.
 * Source: sentencepiece_model.proto of google/sentencepiece; the protocol buffers encoding guide.
 */
#include <string.h>

#include "text/spm.h"

struct field { uint32_t number, wire; uint64_t value; nc_str bytes; };

static bool varint(nc_str *in, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && in->n; shift += 7) {
        unsigned char c = (unsigned char)*in->p++;
        in->n--;
        *out |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return true;
    }
    return false;
}

/* The next field of a message: 1, 0 at its end, negative when it is cut or broken. */
static int next(nc_str *in, struct field *f, nc_error *e)
{
    uint64_t key, size = 0;
    if (!in->n)
        return 0;
    if (!varint(in, &key) || !(key >> 3) || key >> 32)
        return nc_fail(e, NC_EFORMAT, "broken field key; the file is no sentencepiece model or cut");
    *f = (struct field){ .number = (uint32_t)(key >> 3), .wire = (uint32_t)key & 7 };
    if (f->wire == 0)
        return varint(in, &f->value) ? 1 : nc_fail(e, NC_EFORMAT, "field %u: cut number", f->number);
    if (f->wire == 1)
        size = 8;
    else if (f->wire == 5)
        size = 4;
    else if (f->wire != 2 || !varint(in, &size))
        return nc_fail(e, NC_EFORMAT, "field %u has wire type %u; the file is no sentencepiece model or cut", f->number, f->wire);
    if (size > in->n)
        return nc_fail(e, NC_EFORMAT, "field %u has %llu bytes but %zu are left; the file is cut", f->number, (unsigned long long)size, in->n);
    f->bytes = (nc_str){ in->p, (size_t)size };
    in->p += size;
    in->n -= (size_t)size;
    return 1;
}

/* What the specs say; the defaults are the proto's. */
struct model {
    nc_arena *a;
    nc_json *vocab, *added, *user, *special;
    nc_str charsmap, unk_surface;
    nc_str names[4];                /* unk, bos, eos, pad pieces as the trainer named them */
    int64_t ids[4];
    int kind;
    bool suffix, bytes, dummy_prefix, remove_extra, escape;
    int64_t unk;
};

static int read_piece(struct model *m, nc_str in, nc_error *e)
{
    struct field f;
    nc_str piece = { "", 0 };
    float score = 0;
    uint64_t type = NC_SPM_NORMAL;
    int status;
    while ((status = next(&in, &f, e)) > 0) {
        if (f.number == 1 && f.wire == 2)
            piece = f.bytes;
        else if (f.number == 2 && f.wire == 5)
            memcpy(&score, f.bytes.p, 4);
        else if (f.number == 3 && f.wire == 0)
            type = f.value;
    }
    NC_TRY(status);
    int id = m->vocab->count;
    if (id >= NC_VOCAB_LIMIT)
        return nc_fail(e, NC_ELIMIT, "more than %d pieces", NC_VOCAB_LIMIT);
    if (!nc_utf8_valid(piece) || type < NC_SPM_NORMAL || type > NC_SPM_BYTE || !(score > -1e30f && score < 1e30f))
        return nc_fail(e, NC_EFORMAT, "piece %d: type %llu, score %g or a spelling that is no UTF-8", id, (unsigned long long)type, (double)score);
    nc_json *item = nc_json_new(m->a, NC_JSON_ARRAY);
    nc_str kept = { nc_arena_strndup(m->a, piece.p, piece.n), piece.n };
    nc_json_append(item, nc_json_new_string(m->a, kept));
    nc_json_append(item, nc_json_new_double(m->a, (double)score));
    nc_json_append(item, nc_json_new_int(m->a, (int64_t)type));
    nc_json_append(m->vocab, item);
    if (type == NC_SPM_UNKNOWN)
        m->unk = id;
    if (type == NC_SPM_USER)
        nc_json_append(m->user, nc_json_new_string(m->a, kept));
    if (type == NC_SPM_CONTROL) {
        nc_json *token = nc_json_new(m->a, NC_JSON_OBJECT);
        nc_json_set(m->a, token, "id", nc_json_new_int(m->a, id));
        nc_json_set(m->a, token, "content", nc_json_new_string(m->a, kept));
        nc_json_set(m->a, token, "special", nc_json_new_bool(m->a, true));
        nc_json_set(m->a, token, "normalized", nc_json_new_bool(m->a, false));
        nc_json_append(m->added, token);
    }
    return NC_OK;
}

static int read_trainer(struct model *m, nc_str in, nc_error *e)
{
    struct field f;
    int status;
    while ((status = next(&in, &f, e)) > 0) {
        if (f.number == 3 && f.wire == 0)
            m->kind = f.value > 4 ? 0 : (int)f.value;
        else if (f.number == 24 && f.wire == 0)
            m->suffix = f.value != 0;
        else if (f.number == 35 && f.wire == 0)
            m->bytes = f.value != 0;
        else if (f.number == 44 && f.wire == 2)
            m->unk_surface = f.bytes;
        else if (f.number >= 40 && f.number <= 43 && f.wire == 0)
            m->ids[f.number - 40] = (int32_t)f.value;
        else if (f.number >= 45 && f.number <= 48 && f.wire == 2)
            m->names[f.number - 45] = f.bytes;
    }
    return status;
}

static int read_normalizer(struct model *m, nc_str in, nc_error *e)
{
    struct field f;
    int status;
    while ((status = next(&in, &f, e)) > 0) {
        if (f.number == 2 && f.wire == 2)
            m->charsmap = f.bytes;
        else if (f.number == 3 && f.wire == 0)
            m->dummy_prefix = f.value != 0;
        else if (f.number == 4 && f.wire == 0)
            m->remove_extra = f.value != 0;
        else if (f.number == 5 && f.wire == 0)
            m->escape = f.value != 0;
    }
    return status;
}

static nc_json *typed(nc_arena *a, const char *type)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", nc_json_new_string(a, nc_str_of(type)));
    return v;
}

static void flag(struct model *m, nc_json *v, const char *key, bool value)
{
    nc_json_set(m->a, v, key, nc_json_new_bool(m->a, value));
}

/* <s> text </s>, with what the model has of them. */
static nc_json *template_of(struct model *m)
{
    nc_json *v = typed(m->a, "TemplateProcessing"), *single = nc_json_new(m->a, NC_JSON_ARRAY), *pair = nc_json_new(m->a, NC_JSON_ARRAY);
    nc_json *tokens = nc_json_new(m->a, NC_JSON_OBJECT);
    for (int side = 0; side < 4; side++) {
        bool text = side == 1 || side == 2;
        int which = side == 0 ? 1 : 2;
        if (!text && m->names[which].n == 0)
            continue;
        nc_json *inner = nc_json_new(m->a, NC_JSON_OBJECT);
        nc_json_set(m->a, inner, "id", nc_json_new_string(m->a, text ? nc_str_of(side == 1 ? "A" : "B") : m->names[which]));
        nc_json_set(m->a, inner, "type_id", nc_json_new_int(m->a, 0));
        nc_json *item = nc_json_new(m->a, NC_JSON_OBJECT);
        nc_json_set(m->a, item, text ? "Sequence" : "SpecialToken", inner);
        nc_json_append(pair, item);
        if (side != 2)
            nc_json_append(single, nc_json_clone(m->a, item));
        if (text)
            continue;
        nc_json *token = nc_json_new(m->a, NC_JSON_OBJECT), *ids = nc_json_new(m->a, NC_JSON_ARRAY);
        nc_json_append(ids, nc_json_new_int(m->a, m->ids[which]));
        nc_json_set(m->a, token, "id", nc_json_new_string(m->a, m->names[which]));
        nc_json_set(m->a, token, "ids", ids);
        nc_json_set(m->a, tokens, nc_arena_strndup(m->a, m->names[which].p, m->names[which].n), token);
    }
    nc_json_set(m->a, v, "single", single);
    nc_json_set(m->a, v, "pair", pair);
    nc_json_set(m->a, v, "special_tokens", tokens);
    return v;
}

/* Names of unk, bos, eos and pad become those of the pieces at their ids; a name no piece has is dropped. */
static void name_special(struct model *m)
{
    static const char *const keys[] = { "unk_token", "bos_token", "eos_token", "pad_token" };
    for (int i = 0; i < 4; i++) {
        nc_str name = m->names[i];
        m->names[i] = (nc_str){ NULL, 0 };
        int64_t id = 0;
        NC_JSON_EACH(item, m->vocab) {
            int64_t type = nc_json_int(item->first->next->next, 0);
            bool control = type == NC_SPM_CONTROL || (type == NC_SPM_UNKNOWN && i == 0);
            if (control && nc_str_eq(item->first->text, name)) {
                m->names[i] = item->first->text;
                m->ids[i] = id;
                nc_json_set(m->a, m->special, keys[i], nc_json_new_string(m->a, item->first->text));
                break;
            }
            id++;
        }
    }
}

static nc_json *tree_of(struct model *m)
{
    static const char *const kinds[] = { "", "Unigram", "SentencePieceBPE", "SentencePieceWord", "SentencePieceChar" };
    nc_arena *a = m->a;
    nc_json *tree = nc_json_new(a, NC_JSON_OBJECT), *model = typed(a, kinds[m->kind]), *norm = typed(a, "SentencePiece"), *dec = typed(a, "SentencePiece");
    nc_buf text = { 0 };
    nc_buf_base64(&text, m->charsmap.p ? m->charsmap.p : "", m->charsmap.n);
    nc_str kept = { nc_arena_strndup(a, text.p ? text.p : "", text.n), text.n };
    nc_buf_free(&text);
    nc_json_set(a, norm, "precompiled_charsmap", nc_json_new_string(a, kept));
    flag(m, norm, "add_dummy_prefix", m->dummy_prefix);
    flag(m, norm, "remove_extra_whitespaces", m->remove_extra);
    flag(m, norm, "escape_whitespaces", m->escape);
    flag(m, norm, "suffix", m->suffix);
    nc_json_set(a, norm, "user_defined", m->user);
    flag(m, dec, "strip", m->dummy_prefix || m->remove_extra);
    flag(m, dec, "strip_all", m->remove_extra);
    flag(m, dec, "suffix", m->suffix);
    nc_json_set(a, dec, "unk_surface", nc_json_new_string(a, m->unk_surface));
    nc_json_set(a, dec, "vocab", m->vocab);
    nc_json *vocab = nc_json_new(a, NC_JSON_ARRAY);
    *vocab = *m->vocab;
    nc_json_set(a, model, "vocab", vocab);
    nc_json_set(a, model, "unk_id", nc_json_new_int(a, m->unk));
    flag(m, model, "byte_fallback", m->bytes);
    name_special(m);
    nc_json_set(a, tree, "added_tokens", m->added);
    nc_json_set(a, tree, "normalizer", norm);
    nc_json_set(a, tree, "model", model);
    nc_json_set(a, tree, "decoder", dec);
    nc_json_set(a, tree, "post_processor", template_of(m));
    nc_json_set(a, tree, "special", m->special);
    return tree;
}

int nc_spm_parse(nc_arena *a, nc_str in, const char *file, nc_json **out, nc_error *e)
{
    struct model m = { .a = a, .vocab = nc_json_new(a, NC_JSON_ARRAY), .added = nc_json_new(a, NC_JSON_ARRAY), .user = nc_json_new(a, NC_JSON_ARRAY),
        .special = nc_json_new(a, NC_JSON_OBJECT), .unk_surface = NC_STR(" \xe2\x81\x87 "), .kind = 1, .unk = -1,
        .names = { NC_STR("<unk>"), NC_STR("<s>"), NC_STR("</s>"), NC_STR("<pad>") }, .dummy_prefix = true, .remove_extra = true, .escape = true };
    struct field f;
    int status;
    while ((status = next(&in, &f, e)) > 0) {
        if (f.wire != 2)
            continue;
        if (f.number == 1)
            status = read_piece(&m, f.bytes, e);
        else if (f.number == 2)
            status = read_trainer(&m, f.bytes, e);
        else if (f.number == 3)
            status = read_normalizer(&m, f.bytes, e);
        if (status < 0)
            break;
    }
    if (status >= 0 && (!m.vocab->count || m.unk < 0 || !m.kind))
        status = nc_fail(e, NC_EFORMAT, "%d pieces, no unknown piece or a model type other than unigram, bpe, word, char; the file is no sentencepiece model", m.vocab->count);
    if (status < 0)
        return nc_fail_in(e, "%s", file);
    *out = tree_of(&m);
    return NC_OK;
}

const uint8_t *nc_spm_types(nc_arena *a, const nc_json *vocab)
{
    const nc_json *first = vocab->first;
    if (!nc_json_is(first, NC_JSON_ARRAY) || first->count != 3)
        return NULL;
    uint8_t *types = NC_NEW_ARRAY(a, uint8_t, vocab->count + 1), *at = types;
    NC_JSON_EACH(item, vocab)
        *at++ = (uint8_t)nc_json_int(nc_json_at(item, 2), NC_SPM_NORMAL);
    return types;
}
