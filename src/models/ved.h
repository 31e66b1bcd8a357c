/* ved.h - what decodes text in a vision-encoder-decoder: a kind of decoder is one file ved_<name>.c and one line in ved_decoders.list.
 *
 * Its sites lie under "decoder.", which the owner puts before its names. Probes are decoder.hidden.k.
 */
#ifndef NC_MODELS_VED_H
#define NC_MODELS_VED_H
#include "models/model.h"

typedef struct nc_ved_facts { int width, vocab, positions, cross_width; } nc_ved_facts;       /* cross_width: of the rows it looks at where its config says, 0: as wide as itself */
typedef struct nc_ved_kind {
    const char *const *types;                /* model_type of its config; NULL-terminated */
    size_t size;
    void (*config)(nc_model *m, void *self, nc_config *r, const char *type, nc_ved_facts *out);
    void (*weights)(nc_model *m, void *self, int cross_width);
    int (*prepare)(const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);      /* tables beyond nc_prepare_text's; NULL: none */
    nc_value *(*decode)(const void *self, nc_build *b, nc_value *rows);                        /* rows: the encoder's, projected; NULL with a cache */
    void (*cross)(const void *self, nc_build *b, nc_value *rows);
    void (*head)(const void *self, nc_head *out);
    void (*cache)(const void *self, nc_cache_need *out);
} nc_ved_kind;

#define NC_VED_DECODER(name) extern const nc_ved_kind nc_ved_##name;
#include "models/ved_decoders.list"
#undef NC_VED_DECODER
#endif
