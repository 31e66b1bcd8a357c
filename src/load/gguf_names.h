/* gguf_names.h - where a site's values lie in a folder of GGUF files, under llama.cpp's names (load/gguf_arch.h).
 *
 *   model.gguf    the decoder, or the encoder of texts, as llama.cpp loads it
 *   mmproj.gguf   the tower and the projector
 *   extra.gguf    what llama.cpp's architecture has no tensor for (BERT's pooler and heads): it refuses files with more than it knows
 */
#ifndef NC_LOAD_GGUF_NAMES_H
#define NC_LOAD_GGUF_NAMES_H
#include "models/model.h"

enum { NC_GGUF_MODEL, NC_GGUF_MMPROJ, NC_GGUF_EXTRA, NC_GGUF_FILES };
extern const char *const nc_gguf_files[NC_GGUF_FILES];

enum { NC_GGUF_PARTS = 4 };
typedef enum nc_gguf_change { NC_GGUF_SAME, NC_GGUF_PLUS_ONE, NC_GGUF_MINUS_EXP } nc_gguf_change;   /* the file's value of a site's: v, v + 1, -exp(v) */

/* A part of a site in a tensor: values (i, j, k, l) of dim in row-major order, from the tensor's value `first` on, are the site's at offset + (i, j, k, l) . stride. */
typedef struct nc_gguf_part {
    char name[64];                   /* GGUF allows 63 bytes */
    nc_shape shape;                  /* of the whole tensor */
    int64_t first, offset, dim[4], stride[4];
    bool beside;                     /* in extra.gguf, and zero where there is none */
} nc_gguf_part;

typedef struct nc_gguf_place { int file, count; nc_gguf_change change; nc_gguf_part part[NC_GGUF_PARTS]; } nc_gguf_home;

/* m is the whole model. NC_EUNSUPPORTED for a family that has no such files, naming it and those that have. */
int nc_gguf_home_of(const nc_model *m, const nc_site *s, nc_gguf_home *out, nc_error *e);
bool nc_gguf_is_plain(const nc_gguf_home *p, int64_t count);      /* one part, all values in their order */
float nc_gguf_changed(nc_gguf_change c, float v);                  /* the file's value */
float nc_gguf_restored(nc_gguf_change c, float v);                 /* the site's */
/* The config of the decoder: text_config where there is one. */
const nc_json *nc_gguf_text_config(const nc_model *m);
#endif
