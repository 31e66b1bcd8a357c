/* model_unigram.c - the Unigram model: of all ways to cut a text into vocabulary entries, the one with the largest sum of log probabilities.
 *
 * best[j] = max over entries w = text[i..j) of best[i] + score(w); a character no entry covers alone costs min(score) - 10 and is unknown.
 * Ties keep what was found first, in order of start; the sum is taken in doubles (the tokenizers library) or rounded to a float after each step
 * (sentencepiece): that decides runs of equal characters. Source: Kudo 2018; encode_optimized of tokenizers, EncodeOptimized of sentencepiece.
 * The entries lie in one open-addressed table of (node, byte) -> node, the first byte indexed directly.
 */
#include "text/spm.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNK_PENALTY 10.0

struct edge { uint32_t key, node; };        /* key: parent node << 8 | byte; node 0: free */

struct unigram {
    nc_model part;
    double *score;
    struct edge *edges;
    uint32_t mask, nodes, capacity;
    uint32_t root[256];
    int32_t *leaf;                          /* of each node, -1: none */
    int32_t unk, fallback[256];
    double unk_score;
    bool byte_fallback, single;             /* single: sentencepiece's arithmetic and offsets */
    const uint8_t *type;
};

static uint32_t slot_of(const struct unigram *m, uint32_t key)
{
    uint32_t at = (key * 0x9e3779b1u ^ key >> 15) & m->mask;
    while (m->edges[at].node && m->edges[at].key != key)
        at = (at + 1) & m->mask;
    return at;
}

static void grow(struct unigram *m)
{
    struct edge *old = m->edges;
    uint32_t count = old ? m->mask + 1 : 0;
    m->mask = m->mask * 2 + 1;
    m->edges = nc_xcalloc((size_t)m->mask + 1, sizeof *m->edges);
    for (uint32_t i = 0; i < count; i++)
        if (old[i].node)
            m->edges[slot_of(m, old[i].key)] = old[i];
    free(old);
}

static uint32_t new_node(struct unigram *m)
{
    if (m->nodes == m->capacity) {
        m->capacity = m->capacity ? m->capacity * 2 : 4096;
        m->leaf = nc_xrealloc(m->leaf, m->capacity * sizeof *m->leaf);
    }
    m->leaf[m->nodes] = -1;
    return m->nodes++;
}

static int add_entry(struct unigram *m, nc_str token, int32_t id, nc_error *e)
{
    uint32_t node = 0;
    for (size_t i = 0; i < token.n; i++) {
        unsigned char byte = (unsigned char)token.p[i];
        uint32_t *next;
        if (i == 0) {
            next = &m->root[byte];
        } else {
            if (m->nodes + 1 > m->mask / 2)
                grow(m);
            struct edge *x = &m->edges[slot_of(m, node << 8 | byte)];
            x->key = node << 8 | byte;
            next = &x->node;
        }
        if (!*next) {
            if (m->nodes >= 1u << 24)
                return nc_fail(e, NC_ELIMIT, "model.vocab needs more than 16777216 trie nodes");
            *next = new_node(m);
        }
        node = *next;
    }
    if (node)
        m->leaf[node] = id;
    return NC_OK;
}

struct node { double score; int32_t id; uint32_t from; };
#define NOWHERE UINT32_MAX

static void reach(const struct unigram *m, struct node *x, double score, int32_t id, uint32_t from)
{
    if (m->single)
        score = (double)(float)score;
    if (x->from == NOWHERE || score > x->score)
        *x = (struct node){ score, id, from };
}

static int forward(const struct unigram *m, nc_str word, struct node *best, nc_error *e)
{
    for (size_t i = 1; i <= word.n; i++)
        best[i].from = NOWHERE;
    best[0] = (struct node){ 0, -1, 0 };
    for (size_t at = 0; at < word.n;) {
        size_t length = 1;
        while (at + length < word.n && ((unsigned char)word.p[at + length] & 0xc0) == 0x80)
            length++;
        double here = best[at].score;
        bool alone = false;
        uint32_t node = m->root[(unsigned char)word.p[at]];
        for (size_t i = at + 1; node; i++) {
            int32_t id = m->leaf[node];
            if (id >= 0 && !(m->type && m->type[id] == NC_SPM_UNUSED)) {
                reach(m, &best[i], m->score[id] + here, id, (uint32_t)at);
                alone = alone || i == at + length;
            }
            if (i >= word.n)
                break;
            node = m->edges[slot_of(m, node << 8 | (unsigned char)word.p[i])].node;
        }
        if (!alone) {
            if (m->unk < 0)
                return nc_fail(e, NC_EINVAL, "\"%.*s\" is in no entry of model.vocab and model.unk_id is null", (int)length, word.p + at);
            reach(m, &best[at + length], m->unk_score + here, m->unk, (uint32_t)at);
        }
        at += length;
    }
    return NC_OK;
}

/* The byte entries of an unknown stretch. The tokenizers library gives each the whole stretch as its range, sentencepiece the last one only. */
static bool add_bytes(const struct unigram *m, nc_scratch *s, nc_str word, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        if (m->fallback[(unsigned char)word.p[i]] < 0)
            return false;
    for (size_t i = begin; i < end; i++) {
        int32_t id = m->fallback[(unsigned char)word.p[i]];
        if (m->single)
            nc_pieces_add(&s->pieces, id, (uint32_t)(i + 1 < end ? begin : end));
        else
            nc_pieces_add(&s->pieces, id, (uint32_t)end | (i > begin ? NC_PIECE_SHARED : 0));
    }
    return true;
}

static int unigram_run(const nc_model *self, nc_scratch *s, nc_str word, nc_error *e)
{
    const struct unigram *m = (const struct unigram *)self;
    struct node *best = nc_scratch_work(s, (word.n + 1) * sizeof *best);
    NC_TRY(forward(m, word, best, e));
    size_t at = word.n;                     /* turn the chain of starts round: from becomes the end of the piece that starts here */
    uint32_t next = NOWHERE;
    int32_t next_id = -1;
    while (1) {
        struct node x = best[at];
        best[at].from = next;
        best[at].id = next_id;
        if (!at)
            break;
        next = (uint32_t)at;
        next_id = x.id;
        at = x.from;
    }
    while (at < word.n) {
        size_t end = best[at].from;
        int32_t id = best[at].id;
        if (id == m->unk) {
            bool bytes_each = m->single && m->byte_fallback;
            while (!bytes_each && end < word.n && best[end].id == m->unk)
                end = best[end].from;
            int32_t known = m->single ? -1 : nc_vocab_id(m->part.vocab, (nc_str){ word.p + at, end - at });
            if (known >= 0)
                id = known;
            else if (m->byte_fallback && add_bytes(m, s, word, at, end)) {
                at = end;
                continue;
            }
        }
        nc_pieces_add(&s->pieces, id, (uint32_t)end);
        at = end;
    }
    return NC_OK;
}

static size_t unigram_memory(const nc_model *self)
{
    const struct unigram *m = (const struct unigram *)self;
    return sizeof *m + ((size_t)m->mask + 1) * sizeof *m->edges + m->capacity * sizeof *m->leaf + nc_vocab_memory(m->part.vocab);
}

static void unigram_release(nc_model *self)
{
    struct unigram *m = (struct unigram *)self;
    nc_vocab_free(m->part.vocab);
    free(m->edges);
    free(m->leaf);
}

/* What sentencepiece pays for a user-defined symbol, and the score of unknown characters. */
static void sentencepiece_scores(struct unigram *m, int32_t count)
{
    float low = FLT_MAX, high = FLT_MIN;
    for (int32_t i = 0; i < count; i++) {
        if (m->type[i] != NC_SPM_NORMAL)
            continue;
        low = (float)m->score[i] < low ? (float)m->score[i] : low;
        high = (float)m->score[i] > high ? (float)m->score[i] : high;
    }
    for (int32_t i = 0; i < count; i++)
        if (m->type[i] == NC_SPM_USER)
            m->score[i] = (double)((float)nc_vocab_token(m->part.vocab, i).n * high) - 0.1;
    m->unk_score = (double)(low - (float)UNK_PENALTY);
}

static int read_entries(struct unigram *m, const nc_json *list, nc_error *e)
{
    int32_t id = 0;
    double low = DBL_MAX;
    NC_JSON_EACH(item, list) {
        const nc_json *token = item->first, *score = token ? token->next : NULL;
        if (!nc_json_is(item, NC_JSON_ARRAY) || !nc_json_is(token, NC_JSON_STRING) || !nc_json_is(score, NC_JSON_NUMBER))
            return nc_fail(e, NC_EFORMAT, "model.vocab[%d] (line %d) is no [token, score]", id, item->line);
        m->score[id] = nc_json_double(score, 0);
        low = m->score[id] < low ? m->score[id] : low;
        if (nc_vocab_set(m->part.vocab, id, token->text) < 0)
            return nc_fail(e, NC_EFORMAT, "model.vocab[%d]: bad token", id);
        if (!m->type || m->type[id] == NC_SPM_NORMAL || m->type[id] == NC_SPM_USER || m->type[id] == NC_SPM_UNUSED)
            NC_TRY(add_entry(m, token->text, id, e));
        id++;
    }
    m->unk_score = low - UNK_PENALTY;
    if (m->single)
        sentencepiece_scores(m, id);
    return NC_OK;
}

int nc_model_unigram(nc_build *b, const nc_json *v, nc_model **out, nc_error *e)
{
    const nc_json *list = nc_json_get(v, "vocab"), *unk = nc_json_get(v, "unk_id");
    struct unigram *m = NC_NEW(b->arena, struct unigram);
    m->part = (nc_model){ .run = unigram_run, .vocab = nc_vocab_new(b->arena), .cached = true, .memory = unigram_memory, .release = unigram_release };
    *out = &m->part;
    new_node(m);
    if (!nc_json_is(list, NC_JSON_ARRAY) || list->count > NC_VOCAB_LIMIT)
        return nc_fail(e, NC_EFORMAT, "model.vocab is no list of [token, score] of at most %d entries", NC_VOCAB_LIMIT);
    m->type = nc_spm_types(b->arena, list);
    m->single = m->type != NULL;
    m->part.cached = !m->single;
    m->byte_fallback = nc_json_bool(nc_json_get(v, "byte_fallback"), false);
    m->score = NC_NEW_ARRAY(b->arena, double, list->count + 1);
    nc_vocab_reserve(m->part.vocab, (size_t)list->count);
    for (m->mask = 0x7ff; m->mask < (uint32_t)list->count * 4;)       /* about three nodes to an entry, and never more than half full */
        m->mask = m->mask * 2 + 1;
    grow(m);
    NC_TRY(read_entries(m, list, e));
    m->unk = unk && unk->type != NC_JSON_NULL ? (int32_t)nc_json_int(unk, -1) : -1;
    if (m->unk >= list->count || (unk && unk->type != NC_JSON_NULL && m->unk < 0))
        return nc_fail(e, NC_EFORMAT, "model.unk_id is no index of model.vocab (%d entries)", list->count);
    nc_byte_entries(m->part.vocab, m->fallback);
    return NC_OK;
}

void nc_byte_entries(const nc_vocab *vocab, int32_t ids[256])
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        ids[byte] = nc_vocab_id(vocab, nc_str_of(text));
    }
}
