/* bart.h - the stacks of BART (Lewis et al. 2020) and its kin: mBART, the decoders of TrOCR, Donut and Nougat.
 *
 *   x = [norm] (scale * embed(ids) + position);   blocks of self attention, cross attention (decoders), fc2 f(fc1 x), each with its residual
 *   BART: x = norm(x + sublayer(x));   mBART: x += sublayer(norm x), and a norm after the stack
 *
 * Learned positions begin at row 2 of their table: it has max_position_embeddings + 2 rows.
 */
#ifndef NC_MODELS_BART_H
#define NC_MODELS_BART_H
#include "models/model.h"

typedef struct nc_bart_norm { nc_site *w, *b; } nc_bart_norm;
typedef struct nc_bart_linear { nc_site *w, *b; } nc_bart_linear;
typedef struct nc_bart_attention { nc_bart_linear q, k, v, o; nc_bart_norm norm; } nc_bart_attention;
typedef struct nc_bart_layer { nc_bart_attention self, cross; nc_bart_linear fc1, fc2; nc_bart_norm norm; } nc_bart_layer;
typedef struct nc_bart_stack {
    int layers, width, heads, inner, positions, cross_width;
    bool decoder, pre_norm, final_norm, embed_norm, learned;
    double scale;                    /* of embeddings */
    nc_unary activation;
    nc_site *embed, *own;            /* the owner's table; the stack's, which comes before it where the file has one (NULL: never) */
    nc_site *position;
    nc_bart_norm norm_embed, norm_final;
    nc_bart_layer *layer;
} nc_bart_stack;

/* The keys of one stack: side is "encoder" or "decoder"; what it has beyond is the family's to set before or after. */
void nc_bart_config(nc_config *r, nc_bart_stack *c, const char *side);
void nc_bart_weights(nc_model *m, nc_bart_stack *c, const char *scope);         /* "model.encoder." */
nc_value *nc_bart_tokens(const nc_bart_stack *c, nc_build *b, nc_value *ids);   /* scale * embed(ids) */
/* Rows x [N,D] of tokens with their positions: pos [N,1] indices (learned tables), or rows [N,D]; and the norm. */
nc_value *nc_bart_embed(const nc_bart_stack *c, nc_build *b, nc_value *x, nc_value *pos, nc_value *rows);
/* Blocks over embedded x, spans of its rows; rows: the encoder's (decoders, NULL with a cache). Probes prefix.0 ... prefix.layers. */
nc_value *nc_bart_blocks(const nc_bart_stack *c, nc_build *b, nc_value *x, const nc_spans *spans, nc_value *rows, const char *prefix);
void nc_bart_cross(const nc_bart_stack *c, nc_build *b, nc_value *rows);
void nc_bart_cache(const nc_bart_stack *c, nc_cache_need *out);

/* A whole: both stacks over one table, the head's too; where tie_word_embeddings is false files may hold a table for each stack, and one for the head. */
typedef struct nc_bart { nc_bart_stack encoder, decoder; int vocab; bool tied; nc_site *shared, *head, *bias; } nc_bart;
typedef struct nc_bart_names { const char *body, *head, *bias; bool encoder_table; } nc_bart_names;      /* scopes of shared, encoder and decoder; of lm_head; of final_logits_bias */
void nc_bart_whole_config(nc_model *m, nc_bart *c, nc_config *r, bool pre_norm);
void nc_bart_whole_weights(nc_model *m, nc_bart *c, const nc_bart_names *n);
nc_value *nc_bart_encode(const nc_bart *c, nc_build *b, nc_value *media);        /* media: rows that placeholders of the source take, NULL without */
nc_value *nc_bart_decode(const nc_bart *c, nc_build *b, nc_value *rows);
void nc_bart_head(const nc_bart *c, nc_head *out);
/* Keys of such configs that change nothing; NULL-terminated. */
extern const char *const nc_bart_meaningless[];
#endif
