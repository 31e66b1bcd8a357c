/* train_bpe.c - counts words, then merges the most frequent adjacent pair again and again: BPE, and WordPiece, which keeps the vocabulary only.
 *
 * Ids: special tokens, then the alphabet by code point, then merges in order. Among pairs of equal count the one with the smaller (left id, right id) is first.
 * A queue entry carries the words where its pair arose; a count that has changed since is put right when the entry comes up (BpeTrainer::do_train of
 * huggingface/tokenizers states the procedure, whose quirks decide ties when two pairs spell the same token).
 */
#include <stdlib.h>
#include <string.h>

#include "text/train_parts.h"

struct positions { int32_t *p; int32_t n, capacity; };
struct pair { int32_t left, right; int64_t count; struct positions fresh; };    /* fresh: words where it arose in this round */
struct entry { int64_t count; uint32_t pair; struct positions where; };
struct word { int32_t *id; uint16_t *length; int32_t n; int64_t count; };
struct merged { int32_t left, right; };


struct bpe {
    nc_trainer *t;
    const char *prefix, *suffix;
    struct word *word;
    struct pair *pairs;
    size_t pair_count, pair_capacity;
    uint32_t *slots;                    /* pair index + 1 */
    size_t mask;
    uint32_t *touched;
    size_t touched_count, touched_capacity;
    struct entry *heap;
    size_t heap_count, heap_capacity;
    struct merged *merges;
    size_t merge_count, merge_capacity;
};

/* Special tokens, then every character of the alphabet in order of code points. */
static void add_alphabet(struct bpe *b)
{
    const bool no_bytes = b->t->o.no_byte_alphabet || b->t->o.model == NC_TRAIN_WORDPIECE;
    uint8_t *seen = nc_xcalloc(0x110000, 1);
    for (int i = 0; i < 256 && !no_bytes; i++)
        seen[nc_byte_char[i]] = 1;
    for (size_t i = 0; i < nc_map_count(b->t->words); i++) {
        nc_str word = nc_map_key(b->t->words, i);
        for (size_t at = 0; at < word.n;)
            seen[nc_train_next(b->t, word, &at)] = 1;
    }
    for (int i = 0; i < b->t->o.special_count; i++)
        nc_train_add(b->t, nc_str_of(b->t->o.special[i]));
    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[4];
        if (seen[c])
            nc_train_add(b->t, (nc_str){ text, (size_t)nc_utf8_encode(c, text) });
    }
    free(seen);
}

static void add_words(struct bpe *b)
{
    size_t count = nc_map_count(b->t->words);
    nc_str prefix = nc_str_of(b->prefix ? b->prefix : ""), suffix = nc_str_of(b->suffix ? b->suffix : "");
    b->word = NC_NEW_ARRAY(b->t->arena, struct word, count + 1);
    for (size_t i = 0; i < count; i++) {
        nc_str word = nc_map_key(b->t->words, i);
        struct word *w = &b->word[i];
        w->count = nc_map_value(b->t->words, i);
        w->id = NC_NEW_ARRAY(b->t->arena, int32_t, word.n + 1);
        w->length = NC_NEW_ARRAY(b->t->arena, uint16_t, word.n + 1);
        for (size_t at = 0; at < word.n;) {
            char text[80];
            size_t n = 0, first = at;
            uint32_t c = nc_train_next(b->t, word, &at);
            if (first > 0) {
                memcpy(text, prefix.p, prefix.n);
                n = prefix.n;
            }
            n += (size_t)nc_utf8_encode(c, text + n);
            if (at == word.n) {
                memcpy(text + n, suffix.p, suffix.n);
                n += suffix.n;
            }
            w->length[w->n] = 1;
            w->id[w->n++] = nc_train_add(b->t, (nc_str){ text, n });
        }
    }
}

static uint32_t pair_of(struct bpe *b, int32_t left, int32_t right)
{
    if ((b->pair_count + 1) * 2 > b->mask) {
        free(b->slots);
        b->mask = b->mask ? b->mask * 2 + 1 : (1u << 17) - 1;
        b->slots = nc_xcalloc(b->mask + 1, sizeof *b->slots);
        for (size_t i = 0; i < b->pair_count; i++) {
            size_t k = (((uint64_t)(uint32_t)b->pairs[i].left << 32 | (uint32_t)b->pairs[i].right) * 0x9e3779b97f4a7c15u >> 24) & b->mask;
            while (b->slots[k])
                k = (k + 1) & b->mask;
            b->slots[k] = (uint32_t)i + 1;
        }
    }
    size_t k = (((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u >> 24) & b->mask;
    for (; b->slots[k]; k = (k + 1) & b->mask) {
        const struct pair *p = &b->pairs[b->slots[k] - 1];
        if (p->left == left && p->right == right)
            return b->slots[k] - 1;
    }
    if (b->pair_count == b->pair_capacity) {
        b->pair_capacity = b->pair_capacity ? b->pair_capacity * 2 : 65536;
        b->pairs = nc_xrealloc(b->pairs, b->pair_capacity * sizeof *b->pairs);
    }
    b->pairs[b->pair_count] = (struct pair){ .left = left, .right = right };
    b->slots[k] = (uint32_t)++b->pair_count;
    return (uint32_t)b->pair_count - 1;
}

/* change more occurrences of the pair in word w; new ones are remembered for the queue. */
static void count_pair(struct bpe *b, int32_t left, int32_t right, int64_t change, int32_t w)
{
    uint32_t index = pair_of(b, left, right);
    struct pair *p = &b->pairs[index];
    p->count += change * b->word[w].count;
    if (change < 0 || (p->fresh.n && p->fresh.p[p->fresh.n - 1] == w))
        return;
    if (!p->fresh.n) {
        if (b->touched_count == b->touched_capacity) {
            b->touched_capacity = b->touched_capacity ? b->touched_capacity * 2 : 4096;
            b->touched = nc_xrealloc(b->touched, b->touched_capacity * sizeof *b->touched);
        }
        b->touched[b->touched_count++] = index;
    }
    if (p->fresh.n == p->fresh.capacity) {
        p->fresh.capacity = p->fresh.capacity ? p->fresh.capacity * 2 : 4;
        p->fresh.p = nc_xrealloc(p->fresh.p, (size_t)p->fresh.capacity * sizeof *p->fresh.p);
    }
    p->fresh.p[p->fresh.n++] = w;
}

static bool before(const struct bpe *b, const struct entry *x, const struct entry *y)
{
    if (x->count != y->count)
        return x->count > y->count;
    const struct pair *p = &b->pairs[x->pair], *q = &b->pairs[y->pair];
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static void push(struct bpe *b, struct entry x)
{
    if (b->heap_count == b->heap_capacity) {
        b->heap_capacity = b->heap_capacity ? b->heap_capacity * 2 : 65536;
        b->heap = nc_xrealloc(b->heap, b->heap_capacity * sizeof *b->heap);
    }
    size_t i = b->heap_count++;
    while (i > 0 && before(b, &x, &b->heap[(i - 1) / 2])) {
        b->heap[i] = b->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->heap[i] = x;
}

static struct entry pop(struct bpe *b)
{
    struct entry top = b->heap[0], x = b->heap[--b->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= b->heap_count)
            break;
        if (child + 1 < b->heap_count && before(b, &b->heap[child + 1], &b->heap[child]))
            child++;
        if (!before(b, &b->heap[child], &x))
            break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = x;
    return top;
}

/* The pairs that arose since the last call enter the queue. */
static void enqueue(struct bpe *b)
{
    for (size_t i = 0; i < b->touched_count; i++) {
        struct pair *p = &b->pairs[b->touched[i]];
        if (p->count > 0)
            push(b, (struct entry){ p->count, b->touched[i], p->fresh });
        else
            free(p->fresh.p);
        p->fresh = (struct positions){ 0 };
    }
    b->touched_count = 0;
}

/* Replaces left right by id in word w and counts what that changes. */
static void merge_word(struct bpe *b, int32_t w, int32_t left, int32_t right, int32_t id)
{
    struct word *x = &b->word[w];
    int32_t limit = b->t->o.max_token_length > 0 ? b->t->o.max_token_length : INT32_MAX;
    for (int32_t i = 0; i + 1 < x->n; i++) {
        if (x->id[i] != left || x->id[i + 1] != right)
            continue;
        int32_t length = x->length[i] + x->length[i + 1];
        if (i > 0) {
            count_pair(b, x->id[i - 1], left, -1, w);
            if (x->length[i - 1] + length < limit)
                count_pair(b, x->id[i - 1], id, 1, w);
        }
        x->id[i] = id;
        x->length[i] = (uint16_t)(length < UINT16_MAX ? length : UINT16_MAX);
        memmove(x->id + i + 1, x->id + i + 2, (size_t)(x->n - i - 2) * sizeof *x->id);
        memmove(x->length + i + 1, x->length + i + 2, (size_t)(x->n - i - 2) * sizeof *x->length);
        x->n--;
        if (i + 1 < x->n) {
            count_pair(b, right, x->id[i + 1], -1, w);
            if (x->length[i + 1] + length < limit)
                count_pair(b, id, x->id[i + 1], 1, w);
        }
    }
}

static void learn(struct bpe *b)
{
    int32_t size = b->t->o.vocab_size > 0 ? b->t->o.vocab_size : 30000;
    int64_t least = b->t->o.min_frequency > 0 ? b->t->o.min_frequency : b->t->o.min_frequency == 0 ? 2 : 0;
    size_t prefix = b->prefix ? strlen(b->prefix) : 0;
    nc_buf token = { 0 };
    for (size_t w = 0; w < nc_map_count(b->t->words); w++)
        for (int32_t i = 0; i + 1 < b->word[w].n; i++)
            count_pair(b, b->word[w].id[i], b->word[w].id[i + 1], 1, (int32_t)w);
    enqueue(b);
    while (nc_vocab_size(b->t->vocab) < size && b->heap_count) {
        struct entry top = pop(b);
        struct pair p = b->pairs[top.pair];
        if (top.count != p.count) {
            top.count = p.count;
            push(b, top);
            continue;
        }
        if (top.count < 1 || top.count < least) {
            free(top.where.p);
            break;
        }
        nc_str left = nc_vocab_token(b->t->vocab, p.left), right = nc_vocab_token(b->t->vocab, p.right);
        size_t cut = prefix && right.n >= prefix && !memcmp(right.p, b->prefix, prefix) ? prefix : 0;
        nc_buf_clear(&token);
        nc_buf_add(&token, left.p, left.n);
        nc_buf_add(&token, right.p + cut, right.n - cut);
        int32_t id = nc_train_add(b->t, (nc_str){ token.p, token.n });
        if (b->merge_count == b->merge_capacity) {
            b->merge_capacity = b->merge_capacity ? b->merge_capacity * 2 : 4096;
            b->merges = nc_xrealloc(b->merges, b->merge_capacity * sizeof *b->merges);
        }
        b->merges[b->merge_count++] = (struct merged){ p.left, p.right };
        for (int32_t i = 0; i < top.where.n; i++)
            merge_word(b, top.where.p[i], p.left, p.right, id);
        free(top.where.p);
        enqueue(b);
    }
    nc_buf_free(&token);
}

static nc_json *bpe_model(const struct bpe *b, nc_arena *a)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *merges = nc_json_new(a, NC_JSON_ARRAY), *tail = NULL;
    nc_json_set(a, v, "type", nc_train_text(a, "BPE"));
    nc_json_set(a, v, "dropout", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, v, "unk_token", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, v, "continuing_subword_prefix", nc_train_text(a, b->prefix));
    nc_json_set(a, v, "end_of_word_suffix", nc_train_text(a, b->suffix));
    nc_json_set(a, v, "fuse_unk", nc_json_new_bool(a, false));
    nc_json_set(a, v, "byte_fallback", nc_json_new_bool(a, false));
    nc_json_set(a, v, "ignore_merges", nc_json_new_bool(a, false));
    for (size_t i = 0; i < b->merge_count; i++) {
        nc_json *one = nc_json_new(a, NC_JSON_ARRAY);
        nc_json_append(one, nc_train_token(a, b->t->vocab, b->merges[i].left));
        nc_json_append(one, nc_train_token(a, b->t->vocab, b->merges[i].right));
        nc_train_append(merges, &tail, (nc_str){ NULL, 0 }, one);
    }
    nc_json_set(a, v, "vocab", nc_train_vocab(b->t, a));
    nc_json_set(a, v, "merges", merges);
    return v;
}

static nc_json *wordpiece_model(const struct bpe *b, nc_arena *a)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", nc_train_text(a, "WordPiece"));
    nc_json_set(a, v, "unk_token", nc_train_text(a, b->t->o.unk));
    nc_json_set(a, v, "continuing_subword_prefix", nc_train_text(a, b->prefix));
    nc_json_set(a, v, "max_input_chars_per_word", nc_json_new_int(a, 100));
    nc_json_set(a, v, "vocab", nc_train_vocab(b->t, a));
    return v;
}

int nc_train_bpe(nc_trainer *t, nc_arena *a, nc_json **out, nc_error *e)
{
    const bool pieces = t->o.model == NC_TRAIN_WORDPIECE;
    struct bpe b = { .t = t, .prefix = t->o.prefix ? t->o.prefix : pieces ? "##" : NULL, .suffix = t->o.suffix };
    (void)e;
    add_alphabet(&b);
    add_words(&b);
    learn(&b);
    *out = pieces ? wordpiece_model(&b, a) : bpe_model(&b, a);
    for (size_t i = 0; i < b.heap_count; i++)
        free(b.heap[i].where.p);
    free(b.heap);
    free(b.pairs);
    free(b.slots);
    free(b.touched);
    free(b.merges);
    return NC_OK;
}
