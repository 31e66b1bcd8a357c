/* train_bpe.c - counts words, then merges the most frequent adjacent pair again and again.
 *
 * Ids: special tokens, then the alphabet by code point, then merges in order. Among pairs of equal count the one with the smaller (left id, right id) is first.
 * A queue entry carries the words where its pair arose; a count that has changed since is put right when the entry comes up (BpeTrainer::do_train of
 * huggingface/tokenizers states the procedure, whose quirks decide ties when two pairs spell the same token).
 */
#include "text/train_bpe.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"

#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

struct positions { int32_t *p; int32_t n, capacity; };
struct pair { int32_t left, right; int64_t count; struct positions fresh; };    /* fresh: words where it arose in this round */
struct entry { int64_t count; uint32_t pair; struct positions where; };
struct word { int32_t *id; uint16_t *length; int32_t n; int64_t count; };
struct merged { int32_t left, right; };

struct nc_bpe_trainer {
    nc_bpe_options o;
    nc_tokenizer *pipeline;             /* normalizer and pre-tokenizer only */
    nc_json *tree;                      /* the pipeline's, in arena */
    nc_arena *arena;
    nc_map *words;
    bool raw;                           /* words are bytes that stand for the byte alphabet */
    nc_vocab *vocab;
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

static nc_json *text_node(nc_arena *a, const char *s)
{
    return s ? nc_json_new_string(a, nc_str_of(nc_arena_strdup(a, s))) : nc_json_new(a, NC_JSON_NULL);
}

static nc_json *byte_level(nc_arena *a, bool regex)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", text_node(a, "ByteLevel"));
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
    nc_json_set(a, what, "Regex", text_node(a, regex));
    nc_json_set(a, split, "type", text_node(a, "Split"));
    nc_json_set(a, split, "pattern", what);
    nc_json_set(a, split, "behavior", text_node(a, "Isolated"));
    nc_json_set(a, split, "invert", nc_json_new_bool(a, false));
    nc_json_append(list, split);
    nc_json_append(list, byte_level(a, false));
    nc_json_set(a, v, "type", text_node(a, "Sequence"));
    nc_json_set(a, v, "pretokenizers", list);
    return v;
}

static nc_json *normalizer(nc_arena *a, bool nfc)
{
    if (!nfc)
        return nc_json_new(a, NC_JSON_NULL);
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", text_node(a, "NFC"));
    return v;
}

static nc_json *part(nc_arena *a, const nc_json *given, nc_json *otherwise)
{
    return given ? nc_json_clone(a, given) : otherwise;
}

static bool is_special(const nc_bpe_options *o, const char *token)
{
    for (int i = 0; i < o->special_count; i++)
        if (!strcmp(o->special[i], token))
            return true;
    return false;
}

static int check_options(const nc_bpe_options *o, nc_error *e)
{
    if (o->vocab_size < 0 || o->vocab_size > NC_VOCAB_LIMIT)
        return nc_fail(e, NC_EINVAL, "vocab_size is %d, not between 1 and %d", o->vocab_size, NC_VOCAB_LIMIT);
    if ((o->bos && !is_special(o, o->bos)) || (o->eos && !is_special(o, o->eos)))
        return nc_fail(e, NC_EINVAL, "bos \"%s\" and eos \"%s\" must be among the special tokens", o->bos ? o->bos : "", o->eos ? o->eos : "");
    if ((o->prefix && strlen(o->prefix) > 32) || (o->suffix && strlen(o->suffix) > 32))
        return nc_fail(e, NC_ELIMIT, "prefix and suffix have at most 32 bytes");
    return NC_OK;
}

int nc_bpe_trainer_new(const nc_bpe_options *options, nc_bpe_trainer **out, nc_error *e)
{
    NC_TRY(check_options(options, e));
    nc_bpe_trainer *t = nc_xcalloc(1, sizeof *t);
    nc_arena *a = t->arena = nc_arena_new();
    t->o = *options;
    t->words = nc_map_new(1 << 16);
    nc_json *tree = t->tree = nc_json_new(a, NC_JSON_OBJECT), *model;
    nc_json_set(a, tree, "version", text_node(a, "1.0"));
    nc_json_set(a, tree, "truncation", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, tree, "padding", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, tree, "added_tokens", nc_json_new(a, NC_JSON_ARRAY));
    nc_json_set(a, tree, "normalizer", part(a, t->o.normalizer, normalizer(a, t->o.nfc)));
    nc_json_set(a, tree, "pre_tokenizer", part(a, t->o.pretokenizer, pretokenizer(a, t->o.pattern)));
    nc_json_set(a, tree, "post_processor", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, tree, "decoder", part(a, t->o.decoder, t->o.pretokenizer ? nc_json_new(a, NC_JSON_NULL) : byte_level(a, true)));
    int status = nc_json_parse(a, NC_STR("{\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}"), "model", &model, e);
    nc_json_set(a, tree, "model", model);
    if (status >= 0)
        status = nc_tokenizer_from_json(tree, NULL, NULL, &t->pipeline, e);
    if (status < 0) {
        nc_bpe_trainer_free(t);
        return status;
    }
    t->raw = t->pipeline->words_are_bytes;
    *out = t;
    return NC_OK;
}

int nc_bpe_trainer_feed(nc_bpe_trainer *t, nc_str document, nc_error *e)
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

static int32_t vocab_add(nc_bpe_trainer *t, nc_str token)
{
    int32_t id = nc_vocab_id(t->vocab, token);
    if (id < 0) {
        id = nc_vocab_size(t->vocab);
        nc_vocab_set(t->vocab, id, token);
    }
    return id;
}

static uint32_t next_character(const nc_bpe_trainer *t, nc_str word, size_t *at)
{
    uint32_t c;
    if (t->raw)
        return nc_byte_char[(unsigned char)word.p[(*at)++]];
    *at += (size_t)nc_utf8_decode(word.p + *at, word.n - *at, &c);
    return c;
}

/* Special tokens, then every character of the alphabet in order of code points. */
static void add_alphabet(nc_bpe_trainer *t)
{
    uint8_t *seen = nc_xcalloc(0x110000, 1);
    for (int i = 0; i < 256 && !t->o.no_byte_alphabet; i++)
        seen[nc_byte_char[i]] = 1;
    for (size_t i = 0; i < nc_map_count(t->words); i++) {
        nc_str word = nc_map_key(t->words, i);
        for (size_t at = 0; at < word.n;)
            seen[next_character(t, word, &at)] = 1;
    }
    for (int i = 0; i < t->o.special_count; i++)
        vocab_add(t, nc_str_of(t->o.special[i]));
    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[4];
        if (seen[c])
            vocab_add(t, (nc_str){ text, (size_t)nc_utf8_encode(c, text) });
    }
    free(seen);
}

static void add_words(nc_bpe_trainer *t)
{
    size_t count = nc_map_count(t->words);
    nc_str prefix = nc_str_of(t->o.prefix ? t->o.prefix : ""), suffix = nc_str_of(t->o.suffix ? t->o.suffix : "");
    t->word = NC_NEW_ARRAY(t->arena, struct word, count + 1);
    for (size_t i = 0; i < count; i++) {
        nc_str word = nc_map_key(t->words, i);
        struct word *w = &t->word[i];
        w->count = nc_map_value(t->words, i);
        w->id = NC_NEW_ARRAY(t->arena, int32_t, word.n + 1);
        w->length = NC_NEW_ARRAY(t->arena, uint16_t, word.n + 1);
        for (size_t at = 0; at < word.n;) {
            char text[80];
            size_t n = 0, first = at;
            uint32_t c = next_character(t, word, &at);
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
            w->id[w->n++] = vocab_add(t, (nc_str){ text, n });
        }
    }
}

static uint32_t pair_of(nc_bpe_trainer *t, int32_t left, int32_t right)
{
    if ((t->pair_count + 1) * 2 > t->mask) {
        free(t->slots);
        t->mask = t->mask ? t->mask * 2 + 1 : (1u << 17) - 1;
        t->slots = nc_xcalloc(t->mask + 1, sizeof *t->slots);
        for (size_t i = 0; i < t->pair_count; i++) {
            size_t k = (((uint64_t)(uint32_t)t->pairs[i].left << 32 | (uint32_t)t->pairs[i].right) * 0x9e3779b97f4a7c15u >> 24) & t->mask;
            while (t->slots[k])
                k = (k + 1) & t->mask;
            t->slots[k] = (uint32_t)i + 1;
        }
    }
    size_t k = (((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u >> 24) & t->mask;
    for (; t->slots[k]; k = (k + 1) & t->mask) {
        const struct pair *p = &t->pairs[t->slots[k] - 1];
        if (p->left == left && p->right == right)
            return t->slots[k] - 1;
    }
    if (t->pair_count == t->pair_capacity) {
        t->pair_capacity = t->pair_capacity ? t->pair_capacity * 2 : 65536;
        t->pairs = nc_xrealloc(t->pairs, t->pair_capacity * sizeof *t->pairs);
    }
    t->pairs[t->pair_count] = (struct pair){ .left = left, .right = right };
    t->slots[k] = (uint32_t)++t->pair_count;
    return (uint32_t)t->pair_count - 1;
}

/* change more occurrences of the pair in word w; new ones are remembered for the queue. */
static void count_pair(nc_bpe_trainer *t, int32_t left, int32_t right, int64_t change, int32_t w)
{
    uint32_t index = pair_of(t, left, right);
    struct pair *p = &t->pairs[index];
    p->count += change * t->word[w].count;
    if (change < 0 || (p->fresh.n && p->fresh.p[p->fresh.n - 1] == w))
        return;
    if (!p->fresh.n) {
        if (t->touched_count == t->touched_capacity) {
            t->touched_capacity = t->touched_capacity ? t->touched_capacity * 2 : 4096;
            t->touched = nc_xrealloc(t->touched, t->touched_capacity * sizeof *t->touched);
        }
        t->touched[t->touched_count++] = index;
    }
    if (p->fresh.n == p->fresh.capacity) {
        p->fresh.capacity = p->fresh.capacity ? p->fresh.capacity * 2 : 4;
        p->fresh.p = nc_xrealloc(p->fresh.p, (size_t)p->fresh.capacity * sizeof *p->fresh.p);
    }
    p->fresh.p[p->fresh.n++] = w;
}

static bool before(const nc_bpe_trainer *t, const struct entry *a, const struct entry *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    const struct pair *x = &t->pairs[a->pair], *y = &t->pairs[b->pair];
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

static void push(nc_bpe_trainer *t, struct entry x)
{
    if (t->heap_count == t->heap_capacity) {
        t->heap_capacity = t->heap_capacity ? t->heap_capacity * 2 : 65536;
        t->heap = nc_xrealloc(t->heap, t->heap_capacity * sizeof *t->heap);
    }
    size_t i = t->heap_count++;
    while (i > 0 && before(t, &x, &t->heap[(i - 1) / 2])) {
        t->heap[i] = t->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->heap[i] = x;
}

static struct entry pop(nc_bpe_trainer *t)
{
    struct entry top = t->heap[0], x = t->heap[--t->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= t->heap_count)
            break;
        if (child + 1 < t->heap_count && before(t, &t->heap[child + 1], &t->heap[child]))
            child++;
        if (!before(t, &t->heap[child], &x))
            break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = x;
    return top;
}

/* The pairs that arose since the last call enter the queue. */
static void enqueue(nc_bpe_trainer *t)
{
    for (size_t i = 0; i < t->touched_count; i++) {
        struct pair *p = &t->pairs[t->touched[i]];
        if (p->count > 0)
            push(t, (struct entry){ p->count, t->touched[i], p->fresh });
        else
            free(p->fresh.p);
        p->fresh = (struct positions){ 0 };
    }
    t->touched_count = 0;
}

/* Replaces left right by id in word w and counts what that changes. */
static void merge_word(nc_bpe_trainer *t, int32_t w, int32_t left, int32_t right, int32_t id)
{
    struct word *x = &t->word[w];
    int32_t limit = t->o.max_token_length > 0 ? t->o.max_token_length : INT32_MAX;
    for (int32_t i = 0; i + 1 < x->n; i++) {
        if (x->id[i] != left || x->id[i + 1] != right)
            continue;
        int32_t length = x->length[i] + x->length[i + 1];
        if (i > 0) {
            count_pair(t, x->id[i - 1], left, -1, w);
            if (x->length[i - 1] + length < limit)
                count_pair(t, x->id[i - 1], id, 1, w);
        }
        x->id[i] = id;
        x->length[i] = (uint16_t)(length < UINT16_MAX ? length : UINT16_MAX);
        memmove(x->id + i + 1, x->id + i + 2, (size_t)(x->n - i - 2) * sizeof *x->id);
        memmove(x->length + i + 1, x->length + i + 2, (size_t)(x->n - i - 2) * sizeof *x->length);
        x->n--;
        if (i + 1 < x->n) {
            count_pair(t, right, x->id[i + 1], -1, w);
            if (x->length[i + 1] + length < limit)
                count_pair(t, id, x->id[i + 1], 1, w);
        }
    }
}

static void learn(nc_bpe_trainer *t)
{
    int32_t size = t->o.vocab_size > 0 ? t->o.vocab_size : 30000;
    int64_t least = t->o.min_frequency > 0 ? t->o.min_frequency : t->o.min_frequency == 0 ? 2 : 0;
    size_t prefix = t->o.prefix ? strlen(t->o.prefix) : 0;
    nc_buf token = { 0 };
    for (size_t w = 0; w < nc_map_count(t->words); w++)
        for (int32_t i = 0; i + 1 < t->word[w].n; i++)
            count_pair(t, t->word[w].id[i], t->word[w].id[i + 1], 1, (int32_t)w);
    enqueue(t);
    while (nc_vocab_size(t->vocab) < size && t->heap_count) {
        struct entry top = pop(t);
        struct pair p = t->pairs[top.pair];
        if (top.count != p.count) {
            top.count = p.count;
            push(t, top);
            continue;
        }
        if (top.count < 1 || top.count < least) {
            free(top.where.p);
            break;
        }
        nc_str left = nc_vocab_token(t->vocab, p.left), right = nc_vocab_token(t->vocab, p.right);
        size_t cut = prefix && right.n >= prefix && !memcmp(right.p, t->o.prefix, prefix) ? prefix : 0;
        nc_buf_clear(&token);
        nc_buf_add(&token, left.p, left.n);
        nc_buf_add(&token, right.p + cut, right.n - cut);
        int32_t id = vocab_add(t, (nc_str){ token.p, token.n });
        if (t->merge_count == t->merge_capacity) {
            t->merge_capacity = t->merge_capacity ? t->merge_capacity * 2 : 4096;
            t->merges = nc_xrealloc(t->merges, t->merge_capacity * sizeof *t->merges);
        }
        t->merges[t->merge_count++] = (struct merged){ p.left, p.right };
        for (int32_t i = 0; i < top.where.n; i++)
            merge_word(t, top.where.p[i], p.left, p.right, id);
        free(top.where.p);
        enqueue(t);
    }
    nc_buf_free(&token);
}

static nc_json *token_node(nc_arena *a, const nc_vocab *v, int32_t id)
{
    nc_str s = nc_vocab_token(v, id);
    return nc_json_new_string(a, (nc_str){ nc_arena_strndup(a, s.p, s.n), s.n });
}

/* A node under a key that is known to be new: nc_json_set would look through all the others first. */
static void append_key(nc_json *object, nc_json **last, nc_str key, nc_json *item)
{
    item->key = key;
    if (*last)
        (*last)->next = item;
    else
        object->first = item;
    *last = item;
    object->count++;
}

static nc_json *post_item(nc_arena *a, const char *kind, const char *id, int type)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *inner = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, inner, "id", text_node(a, id));
    nc_json_set(a, inner, "type_id", nc_json_new_int(a, type));
    nc_json_set(a, v, kind, inner);
    return v;
}

static nc_json *post_processor(nc_bpe_trainer *t, nc_arena *a)
{
    if (!t->o.bos && !t->o.eos)
        return t->o.pretokenizer ? nc_json_new(a, NC_JSON_NULL) : byte_level(a, true);
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *specials = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", text_node(a, "TemplateProcessing"));
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
        nc_json_append(tokens, text_node(a, names[i]));
        nc_json_set(a, one, "id", text_node(a, names[i]));
        nc_json_set(a, one, "ids", ids);
        nc_json_set(a, one, "tokens", tokens);
        nc_json_set(a, specials, names[i], one);
    }
    nc_json_set(a, v, "special_tokens", specials);
    return v;
}

static nc_json *model_node(nc_bpe_trainer *t, nc_arena *a)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *vocab = nc_json_new(a, NC_JSON_OBJECT), *merges = nc_json_new(a, NC_JSON_ARRAY), *last = NULL, *tail = NULL;
    nc_json_set(a, v, "type", text_node(a, "BPE"));
    nc_json_set(a, v, "dropout", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, v, "unk_token", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, v, "continuing_subword_prefix", text_node(a, t->o.prefix));
    nc_json_set(a, v, "end_of_word_suffix", text_node(a, t->o.suffix));
    nc_json_set(a, v, "fuse_unk", nc_json_new_bool(a, false));
    nc_json_set(a, v, "byte_fallback", nc_json_new_bool(a, false));
    nc_json_set(a, v, "ignore_merges", nc_json_new_bool(a, false));
    for (int32_t id = 0; id < nc_vocab_size(t->vocab); id++)
        append_key(vocab, &last, token_node(a, t->vocab, id)->text, nc_json_new_int(a, id));
    for (size_t i = 0; i < t->merge_count; i++) {
        nc_json *one = nc_json_new(a, NC_JSON_ARRAY);
        nc_json_append(one, token_node(a, t->vocab, t->merges[i].left));
        nc_json_append(one, token_node(a, t->vocab, t->merges[i].right));
        append_key(merges, &tail, (nc_str){ NULL, 0 }, one);
    }
    nc_json_set(a, v, "vocab", vocab);
    nc_json_set(a, v, "merges", merges);
    return v;
}

static nc_json *added_tokens(nc_bpe_trainer *t, nc_arena *a)
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

int nc_bpe_trainer_finish(nc_bpe_trainer *t, nc_arena *arena, nc_json **tree, nc_error *e)
{
    if (t->vocab)
        return nc_fail(e, NC_EINVAL, "a BPE trainer finishes once");
    t->vocab = nc_vocab_new(t->arena);
    add_alphabet(t);
    add_words(t);
    learn(t);
    nc_json *out = nc_json_clone(arena, t->tree);
    nc_json_set(arena, out, "added_tokens", added_tokens(t, arena));
    nc_json_set(arena, out, "post_processor", post_processor(t, arena));
    nc_json_set(arena, out, "model", model_node(t, arena));
    *tree = out;
    return NC_OK;
}

void nc_bpe_trainer_free(nc_bpe_trainer *t)
{
    if (!t)
        return;
    nc_tokenizer_free(t->pipeline);
    nc_map_free(t->words);
    nc_vocab_free(t->vocab);
    for (size_t i = 0; i < t->heap_count; i++)
        free(t->heap[i].where.p);
    free(t->heap);
    free(t->pairs);
    free(t->slots);
    free(t->touched);
    free(t->merges);
    nc_arena_free(t->arena);
    free(t);
}
