/* spans.h - which rows of the flat streams belong to which sequence, and who sees whom.
 *
 * A flat stream is many sequences laid end to end without padding. A span is a run of query rows of one sequence, the keys it may look at, and
 * the rule of sight. Spans are host tables outside the graph; nc_attention reads them when it runs.
 */
#ifndef NC_GRAPH_SPANS_H
#define NC_GRAPH_SPANS_H
#include "base/status.h"

typedef enum nc_sight {
    NC_SIGHT_CAUSAL,                 /* query at index i sees keys with index <= i */
    NC_SIGHT_FULL,                   /* all keys of the span: bidirectional, or cross attention */
    NC_SIGHT_PREFIX,                 /* keys with index < prefix are seen by all, beyond that causal (PaliGemma) */
} nc_sight;

typedef struct nc_span {
    int32_t q_row, q_rows;           /* rows of the query stream */
    int32_t k_row, k_rows;           /* rows of the key stream that hold this sequence's keys (without a cache: all of them; with: the new ones, k_rows == q_rows) */
    int32_t q_index;                 /* index in the sequence of the first query row (0 for a whole sequence; the number of cached rows with a cache) */
    int32_t slot;                    /* cache: the sequence's slot; -1 without */
    int32_t page;                    /* cache: the slot's page that the span's first key begins; 0 but for keys that are no prefix of their slot (media of a prompt) */
    int32_t prefix;                  /* for NC_SIGHT_PREFIX */
    nc_sight sight;
} nc_span;

typedef struct nc_spans { nc_span *span; int count; } nc_spans;   /* the owner of the batch owns it */

/* What layers need of a cache (infer/kv_pages.c provides one): attention its keys and values in pages, recurrences a fixed slot of f32 state for a sequence, as it is
 * after the last row run. A page holds NC_KEY_BLOCK rows of one sequence for one layer:
 * keys   [kv_heads][A/2][NC_KEY_BLOCK][2]  pairs along A, so that a vector is many keys (in f32 caches [kv_heads][A][NC_KEY_BLOCK])
 * values [kv_heads][NC_KEY_BLOCK/2][Av][2] pairs along keys (in f32 caches [kv_heads][NC_KEY_BLOCK][Av])
 * These are the operand layouts of the attention kernel (kernels/attention.h packs and appends rows); rows not yet written are zero. */
enum { NC_KEY_BLOCK = 64 };
typedef struct nc_cache nc_cache;
struct nc_cache {
    bool bf16;                       /* else f32 */
    /* The page of key block `block` (keys block*64 ...) of a slot and layer; for writing it exists beforehand (the scheduler reserved it). */
    void *(*keys)(nc_cache *c, int slot, int layer, int block);
    void *(*values)(nc_cache *c, int slot, int layer, int block);
    float *(*state)(nc_cache *c, int slot);      /* [states], all recurrent layers' one after the other */
    int64_t states;
    /* Block of an attention layer's index keys, f32 [A][NC_KEY_BLOCK] (sparse attention chooses by them); rows not yet written are zero. */
    float *(*index)(nc_cache *c, int slot, int layer, int block);
};
#endif
