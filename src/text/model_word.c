/* model_word.c - WordPiece (Schuster and Nakajima 2012; greedy longest match as in BERT) and WordLevel (a word is a token). */
#include <stdlib.h>
#include <string.h>

#include "text/model_bpe.h"
#include "text/unicode.h"

struct word_model {
    nc_model part;
    int32_t unk;
    nc_str unk_token, prefix;
    size_t limit;                   /* characters of a word; longer ones are unknown */
};

static size_t word_memory(const nc_model *self)
{
    return sizeof(struct word_model) + nc_vocab_memory(self->vocab);
}

static void word_release(nc_model *self)
{
    nc_vocab_free(self->vocab);
}

static int add_unk(const struct word_model *m, nc_scratch *s, nc_str word, nc_error *e)
{
    if (m->unk < 0)
        return nc_fail(e, NC_EFORMAT, "the word \"%.*s\" has no id and model.unk_token \"%.*s\" is not in model.vocab", (int)(word.n < 60 ? word.n : 60),
                       word.p, (int)m->unk_token.n, m->unk_token.p);
    nc_pieces_add(&s->pieces, m->unk, (uint32_t)word.n);
    return NC_OK;
}

static int wordpiece_run(const nc_model *self, nc_scratch *s, nc_str word, nc_error *e)
{
    const struct word_model *m = (const struct word_model *)self;
    size_t first = s->pieces.n, longest = 4 * m->limit + m->prefix.n;
    if (nc_utf8_count(word) > m->limit)
        return add_unk(m, s, word, e);
    char *text = nc_scratch_work(s, longest + 1);
    for (size_t at = 0; at < word.n;) {
        size_t end = word.n;
        int32_t id = -1;
        while (end > at) {
            size_t prefix = at ? m->prefix.n : 0;
            memcpy(text, m->prefix.p ? m->prefix.p : "", prefix);
            memcpy(text + prefix, word.p + at, end - at);
            id = nc_vocab_id(m->part.vocab, (nc_str){ text, prefix + end - at });
            if (id >= 0)
                break;
            do
                end--;
            while (end > at && ((unsigned char)word.p[end] & 0xc0) == 0x80);
        }
        if (id < 0) {
            s->pieces.n = first;
            return add_unk(m, s, word, e);
        }
        nc_pieces_add(&s->pieces, id, (uint32_t)end);
        at = end;
    }
    return NC_OK;
}

static int wordlevel_run(const nc_model *self, nc_scratch *s, nc_str word, nc_error *e)
{
    const struct word_model *m = (const struct word_model *)self;
    int32_t id = nc_vocab_id(m->part.vocab, word);
    if (id < 0)
        return add_unk(m, s, word, e);
    nc_pieces_add(&s->pieces, id, (uint32_t)word.n);
    return NC_OK;
}

static int create(nc_build *b, const nc_json *v, bool pieces, nc_model **out, nc_error *e)
{
    struct word_model *m = NC_NEW(b->arena, struct word_model);
    m->part = (nc_model){ .run = pieces ? wordpiece_run : wordlevel_run, .vocab = nc_vocab_new(b->arena), .cached = pieces, .memory = word_memory, .release = word_release };
    *out = &m->part;
    NC_TRY(nc_vocab_read(m->part.vocab, nc_json_get(v, "vocab"), e));
    const nc_json *unk = nc_json_get(v, "unk_token"), *prefix = nc_json_get(v, "continuing_subword_prefix");
    nc_str unk_token = nc_json_is(unk, NC_JSON_STRING) ? unk->text : pieces ? NC_STR("[UNK]") : NC_STR("<unk>");
    nc_str prefix_text = nc_json_is(prefix, NC_JSON_STRING) ? prefix->text : NC_STR("##");
    m->unk_token = (nc_str){ nc_arena_strndup(b->arena, unk_token.p, unk_token.n), unk_token.n };
    m->prefix = (nc_str){ nc_arena_strndup(b->arena, prefix_text.p, prefix_text.n), prefix_text.n };
    m->unk = nc_vocab_id(m->part.vocab, m->unk_token);
    int64_t limit = nc_json_int(nc_json_get(v, "max_input_chars_per_word"), 100);
    if (limit < 1 || limit > 1 << 20)
        return nc_fail(e, NC_EFORMAT, "model.max_input_chars_per_word is %lld, not between 1 and 1048576", (long long)limit);
    m->limit = (size_t)limit;
    return NC_OK;
}

int nc_model_wordpiece(nc_build *b, const nc_json *v, nc_model **out, nc_error *e)
{
    return create(b, v, true, out, e);
}

int nc_model_wordlevel(nc_build *b, const nc_json *v, nc_model **out, nc_error *e)
{
    return create(b, v, false, out, e);
}
