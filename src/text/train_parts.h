/* train_parts.h - what the trainers share: words and how often they came, the vocabulary, pieces of the tree. Inside src/text only. */
#ifndef NC_TEXT_TRAIN_PARTS_H
#define NC_TEXT_TRAIN_PARTS_H
#include "text/tokenizer_internal.h"
#include "text/train.h"

struct nc_trainer {
    nc_trainer_options o;
    nc_tokenizer *pipeline;             /* normalizer and pre-tokenizer only */
    nc_json *tree;                      /* the pipeline's, in arena */
    nc_arena *arena;
    nc_map *words;                      /* word: how often */
    bool raw;                           /* words are bytes that stand for the byte alphabet */
    nc_vocab *vocab;
};

/* Each learns from t->words, fills t->vocab and gives the tree's model. */
int nc_train_bpe(nc_trainer *t, nc_arena *a, nc_json **model, nc_error *e);          /* and WordPiece */
int nc_train_unigram(nc_trainer *t, nc_arena *a, nc_json **model, nc_error *e);
int nc_train_wordlevel(nc_trainer *t, nc_arena *a, nc_json **model, nc_error *e);

nc_json *nc_train_text(nc_arena *a, const char *s);                  /* a string node, null for NULL */
nc_json *nc_train_token(nc_arena *a, const nc_vocab *v, int32_t id);
/* A node under a key that is known to be new (empty in arrays): nc_json_set would look through all the others first. */
void nc_train_append(nc_json *object, nc_json **last, nc_str key, nc_json *item);
nc_json *nc_train_vocab(nc_trainer *t, nc_arena *a);                 /* {"token": id, ...} in order of ids */
uint32_t nc_train_next(const nc_trainer *t, nc_str word, size_t *at);   /* the next character of a counted word */
int32_t nc_train_add(nc_trainer *t, nc_str token);                   /* its id, new or not */

/* The words as characters, one after another; word i is at[first[i] .. first[i + 1]). */
typedef struct nc_units { uint32_t *at; size_t *first; size_t words; } nc_units;

/* Seeds of a Unigram model (train_seed.c): every substring of 2 to most characters that different characters follow in the words, with (words it is in) x its length. */
typedef struct nc_seed { nc_str text; double score; } nc_seed;
nc_seed *nc_train_seeds(nc_arena *a, const nc_units *units, int most, size_t limit, size_t *count);
#endif
