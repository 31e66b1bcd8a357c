/* tokenizer_internal.h - the tokenizer's structure, shared by its loading, encoding and decoding files. */
#ifndef NC_TEXT_TOKENIZER_INTERNAL_H
#define NC_TEXT_TOKENIZER_INTERNAL_H
#include <pthread.h>

#include "text/parts.h"

typedef struct nc_added {
    int32_t id;
    nc_str content;
    bool single_word, lstrip, rstrip, normalized, special;
} nc_added;

/* A trie of the added tokens' spellings; nodes as first child and next sibling. */
typedef struct nc_trie_node { int32_t child, sibling, token; unsigned char byte; } nc_trie_node;
typedef struct nc_trie { nc_trie_node *p; int32_t n, capacity; int32_t root[256]; } nc_trie;
void nc_trie_init(nc_trie *t);
void nc_trie_add(nc_trie *t, nc_str key, int32_t token);            /* of equal keys the first is kept */
/* Bytes of the longest key that text starts with, 0: none. */
size_t nc_trie_prefix(const nc_trie *t, nc_str text);
/* The leftmost, then longest key in text at or after from: its token, or -1. */
int32_t nc_trie_find(const nc_trie *t, nc_str text, size_t from, size_t *begin, size_t *end);

struct release { struct release *next; void (*call)(void *); void *object; };

struct nc_tokenizer {
    nc_arena *arena;
    const nc_normalizer *normalizer;
    const nc_pretokenizer *pretokenizer;
    nc_model *model;
    nc_post *post;
    const nc_decoder *decoder;
    bool words_are_bytes;           /* words reach the model as bytes that stand for the byte alphabet */
    bool decodes_bytes;             /* the decoder is ByteLevel alone */
    nc_added *added;                /* sorted by id */
    int added_count;
    nc_map *added_ids;              /* spelling -> index in added */
    nc_trie plain, normalized;      /* tokens are indices in added */
    bool has_plain, has_normalized;
    int32_t size;                   /* largest id + 1 */
    nc_json *special;               /* "bos_token": "<s>", ... */
    nc_json *templates;             /* name: text */
    int64_t max_length;
    nc_buf bytes;                   /* running-text bytes of all tokens, byte_at[id] .. byte_at[id + 1] */
    uint32_t *byte_at;
    struct release *releases;
    pthread_mutex_t lock;
    nc_scratch *idle;
};

void nc_tokenizer_read_config(nc_tokenizer *t, const nc_json *config);       /* special tokens and templates not known yet */
void nc_tokenizer_keep_template(nc_tokenizer *t, const char *name, nc_str text);
nc_scratch *nc_scratch_lend(const nc_tokenizer *t);
void nc_scratch_return(const nc_tokenizer *t, nc_scratch *s);
const nc_added *nc_tokenizer_added(const nc_tokenizer *t, int32_t id);     /* NULL when id is no added token */
nc_word_cache *nc_word_cache_new(void);
void nc_word_cache_free(nc_word_cache *c);
#endif
