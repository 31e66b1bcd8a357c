/* example_make.h - what the files that make examples share: example.c and one file for each kind that is large. */
#ifndef NC_DATA_EXAMPLE_MAKE_H
#define NC_DATA_EXAMPLE_MAKE_H
#include "data/example.h"

typedef struct nc_making {
    const nc_conversation *c;
    const nc_tokenizer *t;
    nc_media_store *store;
    const nc_example_options *o;
    nc_examples *x;
    int capacity;
    int32_t eos;
} nc_making;

/* What it points to is the arena's (w->x->arena). An example without anything that counts in the loss is left out; scored is counted here where there are targets. */
void nc_example_add(nc_making *w, nc_example one);
int *nc_example_media(nc_making *w, const nc_sample *s);         /* indices into the store */
/* example_labels.c, example_pieces.c */
int nc_example_make_labels(nc_making *w, const nc_sample *s, nc_error *e);
int nc_example_make_pieces(nc_making *w, const nc_sample *s, nc_error *e);
#endif
