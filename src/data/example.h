/* example.h - samples made ready: ids, targets shifted by one, and which media stand behind the placeholders. Made once, before training. */
#ifndef NC_DATA_EXAMPLE_H
#define NC_DATA_EXAMPLE_H
#include "data/labels.h"
#include "data/media_store.h"

typedef struct nc_example {
    const int32_t *ids, *targets;    /* targets[i]: the token after ids[i], -1 where it carries no loss */
    int count, scored;
    const int *media;                /* indices into the store */
    int media_count, pictures;       /* pictures: units of all media (nc_visual_units) */
    const int32_t *source;           /* what an encoder reads before the decoder; ids are the decoder's */
    int source_count;
    const int32_t *types;            /* which of two texts each id is of; NULL: one text */
    int32_t label;                   /* of the whole sample, -1: none */
    const float *values;             /* NC_LABELS_SOME and NC_LABELS_NUMBERS: one for each label */
} nc_example;

typedef enum nc_example_kind {
    NC_EXAMPLE_CHAT,                 /* messages by the template; loss on the assistant's tokens */
    NC_EXAMPLE_TEXT,                 /* running text and the end token; loss everywhere; cut into pieces of cutoff */
    NC_EXAMPLE_PAIR,                 /* the answer's text and the end token, beside the first medium */
    NC_EXAMPLE_SOURCE,               /* encoder-decoder: media and the last question as the source (or the media), the answer after decoder_start; loss on the answer and its end token */
    NC_EXAMPLE_LABELS,               /* a text or two, words or a picture, and its label; of words a target at the first piece of each */
    NC_EXAMPLE_PIECES,               /* running text in whole pieces of cutoff, special tokens around each; a target (itself) at every other token */
} nc_example_kind;

typedef int nc_media_rows_fn(void *context, const nc_visual *v);     /* feature rows of a medium in the text */
typedef struct nc_example_options {
    nc_example_kind kind;
    int cutoff;                      /* tokens; longer chats are cut, or left out when the cut would hit media */
    bool train_on_prompt;            /* loss on every token */
    bool mask_history;               /* loss on the last answer alone */
    nc_media_rows_fn *rows;
    void *rows_context;
    int decoder_start, source_cutoff;    /* NC_EXAMPLE_SOURCE; cutoff 0: the encoder reads no text */
    const char *processor;           /* of nc_source_request */
    int media_token;
    const nc_label_set *labels;      /* NC_EXAMPLE_LABELS */
    int types;                       /* NC_EXAMPLE_LABELS: how many kinds of texts the model tells apart */
} nc_example_options;

typedef struct nc_examples {
    nc_arena *arena;
    nc_example *item;
    int count, left_out, cut;        /* samples without room or target; samples cut */
    int64_t tokens, scored;
    int longest, longest_source;
    uint64_t hash;                   /* of all ids and targets */
} nc_examples;

/* Adds every sample's media to the store; call nc_media_store_load before nc_examples_make. */
void nc_examples_add_media(const nc_dataset *d, nc_example_kind kind, nc_media_store *store);
int nc_examples_make(const nc_dataset *d, const nc_conversation *c, const nc_tokenizer *t, nc_media_store *store, const nc_example_options *o, nc_examples **out, nc_error *e);
void nc_examples_free(nc_examples *x);           /* NULL is allowed */
#endif
