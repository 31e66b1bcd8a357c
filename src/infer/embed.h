/* embed.h - texts to vectors, as a folder says: of sentence-transformers (modules.json: transformer, pooling, dense, normalize), a plain encoder or decoder (mean of its
 * rows; another rule by options), or the text side of CLIP and SigLIP (the vector that is compared).
 *
 * A text's vector depends on the text and the weights alone, not on what else is asked with it. Source: sentence-transformers 6.2, sentence_transformer/modules/pooling.py.
 */
#ifndef NC_INFER_EMBED_H
#define NC_INFER_EMBED_H
#include "load/load.h"

typedef struct nc_embedder nc_embedder;
typedef struct nc_embed_options {
    nc_dtype compute;                /* NC_F32 or NC_BF16 */
    const char *pooling;             /* in place of the folder's: cls, mean, max, mean_sqrt_len_tokens, weightedmean, lasttoken; NULL: the folder's */
    bool normalize;                  /* to length 1, whatever the folder says */
    const char *prompt_name;         /* of config_sentence_transformers.json's prompts; NULL: its default_prompt_name */
    const char *prompt;              /* put before every text; NULL: the named one */
    int max_tokens;                  /* of a text, special ones included; 0: what the folder says */
    int threads;
} nc_embed_options;

int nc_embedder_open(const char *folder_or_id, const nc_embed_options *o, nc_embedder **out, nc_error *e);
void nc_embedder_free(nc_embedder *x);       /* NULL is allowed */
nc_loaded *nc_embedder_loaded(const nc_embedder *x);
int nc_embedder_width(const nc_embedder *x); /* of a vector */
/* Vectors [count, width] and, where tokens is given, how many tokens of each text were read (0: the vector is zero). */
int nc_embedder_run(nc_embedder *x, const nc_str *texts, int count, float *out, int *tokens, nc_error *e);

/* ---- inside: what the modules behind the transformer do (embed_modules.c) ---- */
enum { NC_POOL_CLS = 1, NC_POOL_MAX = 2, NC_POOL_MEAN = 4, NC_POOL_SQRT = 8, NC_POOL_WEIGHTED = 16, NC_POOL_LAST = 32 };     /* joined in this order */
typedef struct nc_embed_step {
    bool is_dense;                   /* else: to length 1 */
    int in, out;
    const float *w, *b;              /* [out, in], [out] or NULL */
    bool has_activation;
    nc_unary activation;
} nc_embed_step;
typedef struct nc_embed_modules {
    const char *transformer;         /* the folder of the model itself */
    unsigned pooling;                /* 0: the folder does not say */
    bool skip_prompt;                /* the prompt's tokens are not pooled */
    int max_tokens;                  /* 0: not stated */
    bool lower_case;
    nc_embed_step *step;
    int steps;
    const nc_json *prompts;          /* name -> text, or NULL */
    const char *default_prompt;
} nc_embed_modules;

int nc_embed_modules_read(nc_arena *a, const char *folder, nc_embed_modules *out, nc_error *e);
int nc_embed_pooling(const char *name, unsigned *out, nc_error *e);
/* rows [count, width] of one text -> out, width times the modes; `skip` rows of a prompt are left out. */
void nc_embed_pool(unsigned modes, const float *rows, int count, int width, int skip, float *out);
int nc_embed_pooled_width(unsigned modes, int width);
/* Applies the steps in place: v holds at least the widest vector. */
void nc_embed_steps(const nc_embed_modules *m, float *v, int width, float *room);
void nc_embed_unit(float *v, int n);
#endif
