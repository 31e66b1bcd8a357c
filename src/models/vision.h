/* vision.h - the towers of CLIP, SigLIP and SigLIP 2, for the families that are made of them. */
#ifndef NC_MODELS_VISION_H
#define NC_MODELS_VISION_H
#include "models/encoder.h"

typedef struct nc_vision {
    nc_encoder encoder;
    nc_vision_info info;
    bool is_clip, use_head, naflex;           /* naflex: pictures of any shape, patches as rows, columns, channels (SigLIP 2) */
    nc_site *class_embedding, *patch, *patch_b, *position, *pre, *pre_b, *post, *post_b;
    nc_site *probe, *in_proj, *in_proj_b, *out_proj, *out_proj_b, *head_ln, *head_lnb, *fc1, *fc1b, *fc2, *fc2b;   /* SigLIP's pooling head */
} nc_vision;

/* The pooled vector of each picture [pictures, D]; probes out.last_hidden_state (also *rows) and out.pooled. Tables of nc_vision_prepare. */
nc_value *nc_vision_pooled(const nc_model *m, nc_build *b, const char *probe_prefix, nc_value **rows);
/* All blocks and the norm that closes them. Of towers that nc_is_closed_vision says have it over every row (SigLIP and its kin). */
nc_value *nc_vision_closed(const nc_model *v, nc_build *b, const char *probe_prefix);
bool nc_is_closed_vision(const nc_model *v);
/* nc_family.prepare of a tower: one picture a sequence; nc_prepare_pictures' tables, "pool.rows", the spans "pool" and the count "pictures". */
int nc_vision_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
/* The blocks beyond `depth`, run for their probes alone. */
void nc_vision_rest(const nc_vision *c, nc_build *b, nc_value *x, int depth, const char *prefix);
#endif
