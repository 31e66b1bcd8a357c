/* kv_pages.c - the pool of kv_pages.h: one block of memory, a stack of free pages, a count of holders for each page, a table for each slot. */
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "infer/kv_pages.h"
#include "kernels/attention.h"

typedef struct sequence { bool open; int64_t rows, blocks; int64_t *page; } sequence;

struct nc_kv {
    nc_cache cache;                              /* first: the cache attention holds is this object */
    nc_kv_shape shape;
    size_t key_bytes, layer_bytes, page_bytes, pool_bytes;
    char *pool;
    float *states;                               /* [slots][need.state] */
    size_t state_bytes;
    int64_t pages, free_count, peak, copied;
    int64_t *free_page;                          /* stack; the lowest numbers lie on top */
    int *holders;
    bool *written;                               /* given out before: to be cleared */
    int slots;
    sequence *slot;
};

static nc_attention_shape attention_shape(const nc_kv_shape *s)
{
    return (nc_attention_shape){ s->bf16 ? NC_BF16 : NC_F32, s->need.kv_heads, s->need.kv_heads, s->need.key_dim, s->need.value_dim, 0, 0, true, 0 };
}

static size_t index_bytes(const nc_cache_need *n) { return (size_t)n->index_dim * NC_KEY_BLOCK * sizeof(float); }

int nc_kv_page_bytes(const nc_kv_shape *s, size_t *bytes, nc_error *e)
{
    const nc_cache_need *n = &s->need;

    *bytes = 0;
    if (n->layers == 0 && n->state > 0)
        return 0;
    if (n->layers < 1 || n->kv_heads < 1 || n->key_dim < 1 || n->value_dim < 1 || n->layers > 100000 || n->kv_heads > 65536 || n->key_dim > NC_ATTENTION_MAX_HEAD ||
        n->value_dim > NC_ATTENTION_MAX_HEAD || n->index_dim < 0 || n->index_dim > NC_ATTENTION_MAX_HEAD)
        return nc_fail(e, NC_EINVAL, "KV cache: %d layers of %d heads of %d and %d", n->layers, n->kv_heads, n->key_dim, n->value_dim);
    nc_attention_shape a = attention_shape(s);
    *bytes = (nc_attention_key_page_bytes(&a) + nc_attention_value_page_bytes(&a) + index_bytes(n)) * (size_t)n->layers;
    return 0;
}

int nc_kv_bytes(const nc_kv_shape *s, int64_t pages, int slots, size_t *bytes, nc_error *e)
{
    size_t page, pool, tables, states, each = sizeof(int64_t) + sizeof(int) + sizeof(bool);

    NC_TRY(nc_kv_page_bytes(s, &page, e));
    if (pages < 1 || slots < 1 || s->need.state < 0)
        return nc_fail(e, NC_EINVAL, "KV cache: %lld pages for %d sequences", (long long)pages, slots);
    if (!nc_mul_size(page, (size_t)pages, &pool) || !nc_mul_size((size_t)pages * sizeof(int64_t), (size_t)slots, &tables) ||
        !nc_mul_size((size_t)s->need.state, (size_t)slots * sizeof(float), &states) || !nc_add_size(pool, tables, &pool) || !nc_add_size(pool, states, &pool) ||
        !nc_add_size(pool, (size_t)pages * each + (size_t)slots * sizeof(sequence), bytes) || pages > INT32_MAX)
        return nc_fail(e, NC_ELIMIT, "KV cache: %lld pages of %zu bytes and %d states of %lld numbers are more than memory can be", (long long)pages, page, slots,
                       (long long)s->need.state);
    return 0;
}

static void *page_at(nc_kv *kv, int slot, int layer, int block)
{
    return kv->pool + (size_t)kv->slot[slot].page[block] * kv->page_bytes + (size_t)layer * kv->layer_bytes;
}
static void *keys_at(nc_cache *c, int slot, int layer, int block) { return page_at((nc_kv *)c, slot, layer, block); }
static void *values_at(nc_cache *c, int slot, int layer, int block)
{
    nc_kv *kv = (nc_kv *)c;
    return (char *)page_at(kv, slot, layer, block) + kv->key_bytes;
}
static float *index_at(nc_cache *c, int slot, int layer, int block)
{
    nc_kv *kv = (nc_kv *)c;
    return (float *)((char *)page_at(kv, slot, layer, block) + kv->layer_bytes - index_bytes(&kv->shape.need));
}
static float *state_at(nc_cache *c, int slot)
{
    nc_kv *kv = (nc_kv *)c;
    return kv->states + (size_t)slot * (size_t)kv->shape.need.state;
}

static void release_memory(nc_kv *kv)
{
    if (kv->pool)
        nc_pages_free(kv->pool, kv->pool_bytes);
    if (kv->states)
        nc_pages_free(kv->states, kv->state_bytes);
}

int nc_kv_new(const nc_kv_shape *s, int64_t pages, int slots, nc_kv **out, nc_error *e)
{
    size_t bytes, page;

    *out = NULL;
    NC_TRY(nc_kv_bytes(s, pages, slots, &bytes, e));
    NC_TRY(nc_kv_page_bytes(s, &page, e));
    nc_attention_shape a = attention_shape(s);
    nc_kv *kv = nc_xcalloc(1, sizeof *kv);
    *kv = (nc_kv){ .cache = { s->bf16, keys_at, values_at, state_at, s->need.state, index_at }, .shape = *s, .key_bytes = nc_attention_key_page_bytes(&a),
                   .layer_bytes = s->need.layers ? page / (size_t)s->need.layers : 0,
                   .page_bytes = page, .pool_bytes = page * (size_t)pages, .pages = pages, .free_count = pages, .slots = slots };
    kv->pool = kv->pool_bytes ? nc_pages_alloc(kv->pool_bytes) : NULL;
    kv->state_bytes = (size_t)s->need.state * (size_t)slots * sizeof(float);
    kv->states = kv->state_bytes ? nc_pages_alloc(kv->state_bytes) : NULL;
    if ((kv->pool_bytes && !kv->pool) || (kv->state_bytes && !kv->states)) {
        release_memory(kv);
        free(kv);
        return nc_fail(e, NC_ENOMEM, "KV cache: the system refuses %zu bytes (%lld pages) and %zu of states; ask for fewer", page * (size_t)pages, (long long)pages,
                       (size_t)s->need.state * (size_t)slots * sizeof(float));
    }
    kv->free_page = nc_xcalloc((size_t)pages, sizeof *kv->free_page);
    kv->holders = nc_xcalloc((size_t)pages, sizeof *kv->holders);
    kv->written = nc_xcalloc((size_t)pages, sizeof *kv->written);
    kv->slot = nc_xcalloc((size_t)slots, sizeof *kv->slot);
    for (int64_t i = 0; i < pages; i++)
        kv->free_page[i] = pages - 1 - i;
    for (int i = 0; i < slots; i++)
        kv->slot[i].page = nc_xcalloc((size_t)pages, sizeof(int64_t));
    *out = kv;
    return 0;
}

void nc_kv_free(nc_kv *kv)
{
    if (!kv)
        return;
    for (int i = 0; i < kv->slots; i++)
        free(kv->slot[i].page);
    release_memory(kv);
    free(kv->slot);
    free(kv->written);
    free(kv->holders);
    free(kv->free_page);
    free(kv);
}

nc_cache *nc_kv_cache(nc_kv *kv) { return &kv->cache; }
int64_t nc_kv_pages_free(const nc_kv *kv) { return kv->free_count; }

void nc_kv_get_stats(const nc_kv *kv, nc_kv_stats *out)
{
    *out = (nc_kv_stats){ .pages = kv->pages, .used = kv->pages - kv->free_count, .copied = kv->copied, .peak = kv->peak, .slots = kv->slots, .page_bytes = kv->page_bytes };
    nc_kv_bytes(&kv->shape, kv->pages, kv->slots, &out->bytes, NULL);
    for (int64_t i = 0; i < kv->pages; i++)
        out->shared += kv->holders[i] > 1;
    for (int i = 0; i < kv->slots; i++)
        out->slots_used += kv->slot[i].open;
}

/* ---- pages ---- */
static int64_t take_page(nc_kv *kv, bool clear)
{
    int64_t page = kv->free_page[--kv->free_count];

    if (clear && kv->written[page] && kv->page_bytes)
        memset(kv->pool + (size_t)page * kv->page_bytes, 0, kv->page_bytes);
    kv->written[page] = true;
    kv->holders[page] = 1;
    if (kv->pages - kv->free_count > kv->peak)
        kv->peak = kv->pages - kv->free_count;
    return page;
}

void nc_kv_retain(nc_kv *kv, int64_t page) { kv->holders[page]++; }

void nc_kv_release(nc_kv *kv, int64_t page)
{
    if (--kv->holders[page] == 0)
        kv->free_page[kv->free_count++] = page;
}

int nc_kv_holders(const nc_kv *kv, int64_t page) { return kv->holders[page]; }

/* ---- sequences ---- */
int nc_kv_open(nc_kv *kv, nc_error *e)
{
    for (int i = 0; i < kv->slots; i++)
        if (!kv->slot[i].open) {
            kv->slot[i].open = true;
            kv->slot[i].rows = kv->slot[i].blocks = 0;
            return i;
        }
    return nc_fail(e, NC_ELIMIT, "KV cache: all %d sequences are taken", kv->slots);
}

static void drop_blocks(nc_kv *kv, sequence *s, int64_t blocks)
{
    while (s->blocks > blocks)
        nc_kv_release(kv, s->page[--s->blocks]);
}

void nc_kv_close(nc_kv *kv, int slot)
{
    drop_blocks(kv, &kv->slot[slot], 0);
    kv->slot[slot].rows = 0;
    kv->slot[slot].open = false;
}

int64_t nc_kv_rows(const nc_kv *kv, int slot) { return kv->slot[slot].rows; }

/* The block that the next row goes into is begun and others hold it. */
static bool must_copy(const nc_kv *kv, const sequence *s, int64_t rows)
{
    return rows > s->rows && s->rows % NC_KEY_BLOCK && kv->holders[s->page[s->rows / NC_KEY_BLOCK]] > 1;
}

int64_t nc_kv_reserve_needs(const nc_kv *kv, int slot, int64_t rows)
{
    const sequence *s = &kv->slot[slot];
    int64_t more = nc_kv_pages_for(rows) - s->blocks;

    return (more > 0 ? more : 0) + must_copy(kv, s, rows);
}

int nc_kv_reserve(nc_kv *kv, int slot, int64_t rows, nc_error *e)
{
    sequence *s = &kv->slot[slot];

    if (rows < 0 || rows > kv->pages * NC_KEY_BLOCK || nc_kv_reserve_needs(kv, slot, rows) > kv->free_count)
        return nc_fail(e, NC_ELIMIT, "KV cache: %lld rows for a sequence of %lld; %lld of %lld pages of %d rows are free", (long long)rows, (long long)s->rows,
                       (long long)kv->free_count, (long long)kv->pages, NC_KEY_BLOCK);
    if (must_copy(kv, s, rows)) {
        int64_t *at = &s->page[s->rows / NC_KEY_BLOCK], page = take_page(kv, false);
        if (kv->page_bytes)
            memcpy(kv->pool + (size_t)page * kv->page_bytes, kv->pool + (size_t)*at * kv->page_bytes, kv->page_bytes);
        nc_kv_release(kv, *at);
        *at = page;
        kv->copied++;
    }
    while (s->blocks < nc_kv_pages_for(rows))
        s->page[s->blocks++] = take_page(kv, true);
    if (rows > s->rows)
        s->rows = rows;
    return 0;
}

void nc_kv_truncate(nc_kv *kv, int slot, int64_t rows)
{
    sequence *s = &kv->slot[slot];

    if (rows < s->rows) {
        s->rows = rows > 0 ? rows : 0;
        drop_blocks(kv, s, nc_kv_pages_for(s->rows));
    }
}

int nc_kv_attach(nc_kv *kv, int slot, const int64_t *page, int64_t count, nc_error *e)
{
    sequence *s = &kv->slot[slot];

    if (s->blocks || count < 0 || count > kv->pages)
        return nc_fail(e, NC_EINVAL, "KV cache: sequence %d has %lld rows already, %lld pages are to begin it", slot, (long long)s->rows, (long long)count);
    for (int64_t i = 0; i < count; i++) {
        nc_kv_retain(kv, page[i]);
        s->page[i] = page[i];
    }
    s->blocks = count;
    s->rows = count * NC_KEY_BLOCK;
    return 0;
}

int nc_kv_fork(nc_kv *kv, int slot, int64_t rows, nc_error *e)
{
    if (rows < 0 || rows > kv->slot[slot].rows)
        return nc_fail(e, NC_EINVAL, "KV cache: sequence %d has %lld rows, %lld are to be shared", slot, (long long)kv->slot[slot].rows, (long long)rows);
    int child = nc_kv_open(kv, e);
    NC_TRY(child);
    NC_TRY(nc_kv_attach(kv, child, kv->slot[slot].page, nc_kv_pages_for(rows), e));
    kv->slot[child].rows = rows;
    if (kv->states)
        memcpy(state_at(&kv->cache, child), state_at(&kv->cache, slot), (size_t)kv->shape.need.state * sizeof(float));
    return child;
}

int64_t nc_kv_page(const nc_kv *kv, int slot, int64_t block)
{
    return block >= 0 && block < kv->slot[slot].blocks ? kv->slot[slot].page[block] : -1;
}
