/* kv_pages.h - keys and values of many sequences in one pool of pages, as attention reads them (graph/spans.h).
 *
 * A page holds NC_KEY_BLOCK rows of one sequence for all layers: per layer the key page, then the value page of kernels/attention.h. A slot is a sequence: a table of
 * pages, block b of the sequence in entry b. Index keys, where a model has them, follow a layer's values. Pages are counted: sequences with the same beginning share them, and a page that others hold too is copied before
 * rows are written into it. The pool is planned: nc_kv_bytes says what it will take before it is made, and nothing is allocated after.
 * A page given out again is cleared first: nothing of a former sequence, not even a NaN, reaches the next.
 *
 * Recurrent layers keep f32 state in a fixed place of a slot, as it is after the last row run. It cannot go back: a slot is truncated to nothing or not at all (who
 * begins at row 0 reads no state), and a fork is taken where the sequence stands. Models without attention have pages of no bytes.
 *
 * One thread owns it; during a run attention only asks for addresses. The pool owns all its memory.
 */
#ifndef NC_INFER_KV_PAGES_H
#define NC_INFER_KV_PAGES_H
#include "graph/spans.h"
#include "models/model.h"

typedef struct nc_kv nc_kv;
typedef struct nc_kv_shape { nc_cache_need need; bool bf16; } nc_kv_shape;
typedef struct nc_kv_stats { int64_t pages, used, shared, copied, peak; int slots, slots_used; size_t bytes, page_bytes; } nc_kv_stats;   /* shared: held more than once; copied: since the start */

int nc_kv_page_bytes(const nc_kv_shape *s, size_t *bytes, nc_error *e);          /* of one page, all layers */
int nc_kv_bytes(const nc_kv_shape *s, int64_t pages, int slots, size_t *bytes, nc_error *e);   /* everything; NC_ELIMIT when it cannot be counted */
static inline int64_t nc_kv_pages_for(int64_t rows) { return (rows + NC_KEY_BLOCK - 1) / NC_KEY_BLOCK; }

/* pages: the pool; slots: sequences at once. NC_ENOMEM when the system refuses. */
int nc_kv_new(const nc_kv_shape *s, int64_t pages, int slots, nc_kv **out, nc_error *e);
void nc_kv_free(nc_kv *kv);                      /* NULL is allowed */
nc_cache *nc_kv_cache(nc_kv *kv);                /* lives as long as kv */
void nc_kv_get_stats(const nc_kv *kv, nc_kv_stats *out);
int64_t nc_kv_pages_free(const nc_kv *kv);

/* Sequences. A slot is a number >= 0; NC_ELIMIT (negative) when all are taken. */
int nc_kv_open(nc_kv *kv, nc_error *e);
void nc_kv_close(nc_kv *kv, int slot);           /* gives back its pages */
int64_t nc_kv_rows(const nc_kv *kv, int slot);   /* rows reserved and not truncated */
/* Makes room for rows [now, rows): new pages, and a copy of the last page where others hold it too. NC_ELIMIT when pages run out: nothing has changed then. */
int nc_kv_reserve(nc_kv *kv, int slot, int64_t rows, nc_error *e);
int64_t nc_kv_reserve_needs(const nc_kv *kv, int slot, int64_t rows);             /* how many free pages that takes */
void nc_kv_truncate(nc_kv *kv, int slot, int64_t rows);                           /* forgets rows from `rows` on */
int nc_kv_fork(nc_kv *kv, int slot, int64_t rows, nc_error *e);                   /* a new slot that shares the first `rows` rows; its number or NC_ELIMIT, NC_EINVAL */

/* Pages by number, for a cache of prefixes: who keeps one retains it. */
int64_t nc_kv_page(const nc_kv *kv, int slot, int64_t block);                     /* -1 beyond its rows */
void nc_kv_retain(nc_kv *kv, int64_t page);
void nc_kv_release(nc_kv *kv, int64_t page);
int nc_kv_holders(const nc_kv *kv, int64_t page);
int nc_kv_attach(nc_kv *kv, int slot, const int64_t *page, int64_t count, nc_error *e);   /* an empty slot begins with these pages, count * NC_KEY_BLOCK rows */
#endif
