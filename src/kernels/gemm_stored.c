/* gemm_stored.c - weights that lie as their file holds them until a product of many rows asks for panels. See nc_gemm_stored in gemm.h.
 *
 * Rows of bf16 are a panel's bytes in another order, so every panel keeps its place and size. `packed` is set once, after data is whole: who reads it unset
 * works on rows that stay valid whatever others do, since their pages come back from the file when they are touched.
 */
#include "base/arena.h"
#include "kernels/gemm.h"

enum { PIECE_BYTES = 8 << 20 };              /* packed between two drops of the source's pages */

bool nc_gemm_can_store(const nc_kernels *kernels, int64_t n, int64_t k)
{
    return kernels->gemm->few_rows > 0 && n > 0 && k > 0 && n % NC_GEMM_PANEL == 0 && k % 32 == 0;
}

int nc_gemm_b_store(nc_gemm_b *b, nc_gemm_stored *shared, int64_t n, int64_t k, const uint16_t *rows, void *data, nc_error *e)
{
    NC_TRY(nc_gemm_b_borrow(b, NC_GEMM_BF16, n, k, data, e));
    b->rows = rows;
    b->stored = shared;
    shared->whole = *b;
    pthread_mutex_init(&shared->lock, NULL);
    atomic_init(&shared->packed, false);
    atomic_init(&shared->uses, 0);
    return 0;
}

bool nc_gemm_is_stored(const nc_gemm_b *b) { return b->rows && !atomic_load_explicit(&b->stored->packed, memory_order_acquire); }

bool nc_gemm_takes_few(const struct nc_gemm_kernels *t, const nc_gemm_call *call, int64_t k)
{
    return call->m <= t->few_rows && call->a_dtype == NC_BF16 && !call->a_transposed && !call->accumulate && !call->squares && k > 0 && k % 32 == 0;
}

bool nc_gemm_stays(const nc_gemm_b *b) { return atomic_fetch_add_explicit(&b->stored->uses, 1, memory_order_relaxed) < NC_GEMM_USES; }

static void pack_whole(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_b *b)
{
    const size_t panel = nc_gemm_panel_bytes(b->kind, b->k);
    const int64_t step = (int64_t)(PIECE_BYTES / panel) + 1, panels = nc_gemm_panels(b->n);
    for (int64_t first = 0; first < panels; first += step) {
        nc_gemm_b piece = nc_gemm_chunk(b, first * NC_GEMM_PANEL, (panels - first < step ? panels - first : step) * NC_GEMM_PANEL);
        nc_gemm_source source = { NC_BF16, piece.rows, b->k, false };
        piece.rows = NULL;
        nc_gemm_pack(kernels, pool, &piece, &source, true, NULL);       /* from BF16 to BF16: nothing to refuse */
        nc_pages_drop(source.data, piece.bytes);
    }
}

void nc_gemm_settle(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_b *b)
{
    if (!nc_gemm_is_stored(b))
        return;
    pthread_mutex_lock(&b->stored->lock);
    if (nc_gemm_is_stored(b)) {
        pack_whole(kernels, pool, &b->stored->whole);
        atomic_store_explicit(&b->stored->packed, true, memory_order_release);
    }
    pthread_mutex_unlock(&b->stored->lock);
}

nc_gemm_b nc_gemm_chunk(const nc_gemm_b *b, int64_t row0, int64_t rows)
{
    const size_t panel = nc_gemm_panel_bytes(b->kind, b->k);
    nc_gemm_b c = *b;
    c.data = (char *)b->data + (size_t)(row0 / NC_GEMM_PANEL) * panel;
    c.rows = b->rows ? b->rows + row0 * b->k : NULL;
    c.n = rows;
    c.bytes = (size_t)nc_gemm_panels(rows) * panel;
    c.owned = false;
    c.turned = NULL;
    return c;
}
