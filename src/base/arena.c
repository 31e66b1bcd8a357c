/* arena.c - bump allocation in blocks that double, and heap calls that never return NULL.
 *
 * A block comes zeroed from the system, so memory is cleared again only after a reset. Large blocks ask for huge pages: a tokenizer's tree
 * is some 50 MB, and half of the time to read it went into faults of 4 KiB pages. Under AddressSanitizer what is not handed
 * out is poisoned and a gap is left between allocations, so that reading past one is seen as it would be on the heap.
 */
#include "base/arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#endif
#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#define GAP 16
#define HUGE_BLOCKS 0       /* the leak checker looks for pointers in the heap, not in maps */
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define GAP 0
#define HUGE_BLOCKS 1
#endif

#define FIRST_BLOCK ((size_t)8 << 10)
#define LARGEST_BLOCK ((size_t)4 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

struct block {
    struct block *next;
    char *data;         /* 64-byte aligned, inside the same heap block */
    size_t size, used;
    size_t pages;       /* bytes of nc_pages_alloc, 0 when the block is the heap's */
    bool dirty;         /* was handed out before a reset */
};

struct nc_arena {
    struct block *top;  /* the block being filled; older ones follow */
    size_t next_size, held;
};

static void *out_of_memory(size_t bytes)
{
    fprintf(stderr, "nunchi: out of memory asking for %zu bytes; give the process more memory or a smaller job\n", bytes);
    _exit(1);
}

void *nc_xmalloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    return p ? p : out_of_memory(bytes);
}

void *nc_xcalloc(size_t count, size_t bytes)
{
    void *p = calloc(count ? count : 1, bytes ? bytes : 1);
    return p ? p : out_of_memory(count * bytes);
}

void *nc_xrealloc(void *p, size_t bytes)
{
    p = realloc(p, bytes ? bytes : 1);
    return p ? p : out_of_memory(bytes);
}

char *nc_xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(nc_xmalloc(n), s, n);
}

nc_arena *nc_arena_new(void)
{
    nc_arena *a = nc_xcalloc(1, sizeof *a);
    a->next_size = FIRST_BLOCK;
    return a;
}

static void free_block(nc_arena *a, struct block *b)
{
    a->held -= b->size;
    ASAN_UNPOISON_MEMORY_REGION(b->data, b->size);
    if (b->pages)
        nc_pages_free(b, b->pages);
    else
        free(b);
}

void nc_arena_free(nc_arena *a)
{
    if (!a)
        return;
    while (a->top) {
        struct block *b = a->top;
        a->top = b->next;
        free_block(a, b);
    }
    free(a);
}

void nc_arena_reset(nc_arena *a)
{
    struct block *keep = NULL;
    for (struct block *b = a->top; b; b = b->next)
        if (!keep || b->size > keep->size)
            keep = b;
    while (a->top) {
        struct block *b = a->top;
        a->top = b->next;
        if (b != keep)
            free_block(a, b);
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
        keep->dirty = true;
        ASAN_POISON_MEMORY_REGION(keep->data, keep->size);
        a->top = keep;
    }
}

static struct block *add_block(nc_arena *a, size_t least)
{
    const size_t header = sizeof(struct block) + 64;
    size_t size = least > a->next_size - header ? least : a->next_size - header, total;
    if (a->next_size < LARGEST_BLOCK)
        a->next_size *= 2;
    if (!nc_add_size(size, header, &total))
        out_of_memory(least);
    const bool pages = total >= HUGE_PAGE && HUGE_BLOCKS;
    struct block *b = pages ? nc_pages_alloc(total) : nc_xcalloc(1, total);
    if (!b)
        out_of_memory(least);
    b->pages = pages ? total : 0;
    b->data = (char *)(((uintptr_t)(b + 1) + 63) & ~(uintptr_t)63);
    b->size = size;
    ASAN_POISON_MEMORY_REGION(b->data, b->size);
    a->held += size;
    /* A block made for one large request does not replace a current block that still has more room. */
    if (a->top && least > LARGEST_BLOCK / 4) {
        b->next = a->top->next;
        a->top->next = b;
    } else {
        b->next = a->top;
        a->top = b;
    }
    return b;
}

void *nc_arena_alloc(nc_arena *a, size_t bytes)
{
    const size_t align = bytes >= 64 ? 64 : 16;
    size_t least;
    if (!nc_add_size(bytes, GAP + align, &least))
        out_of_memory(bytes);
    struct block *b = a->top;
    size_t at = b ? (b->used + align - 1) & ~(align - 1) : 0;
    if (!b || at > b->size || b->size - at < bytes + GAP) {
        b = add_block(a, least);
        at = 0;
    }
    char *p = b->data + at;
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    b->used = at + bytes + GAP;
    if (b->dirty)
        memset(p, 0, bytes);
    return p;
}

void *nc_arena_copy(nc_arena *a, const void *from, size_t bytes)
{
    void *p = nc_arena_alloc(a, bytes);
    if (bytes)
        memcpy(p, from, bytes);
    return p;
}

char *nc_arena_strndup(nc_arena *a, const char *s, size_t n)
{
    char *p = nc_arena_alloc(a, n + 1);
    if (n)
        memcpy(p, s, n);
    return p;
}

char *nc_arena_strdup(nc_arena *a, const char *s)
{
    return nc_arena_strndup(a, s, strlen(s));
}

char *nc_arena_printf(nc_arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = nc_arena_alloc(a, n < 0 ? 1 : (size_t)n + 1);
    if (n >= 0)
        vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}

size_t nc_arena_bytes(const nc_arena *a)
{
    return a ? a->held : 0;
}

void *nc_pages_alloc(size_t bytes)
{
    size_t size, total;
    if (!nc_add_size(bytes ? bytes : 1, 4095, &size))
        return NULL;
    size &= ~(size_t)4095;
    if (!nc_add_size(size, HUGE_PAGE, &total))
        return NULL;
    char *raw = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    /* Asking for 2 MiB more and giving the ends back leaves an aligned block. */
    char *p = (char *)(((uintptr_t)raw + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    if (p > raw)
        munmap(raw, (size_t)(p - raw));
    if (raw + total > p + size)
        munmap(p + size, (size_t)(raw + total - (p + size)));
    if (size >= HUGE_PAGE)
        madvise(p, size, MADV_HUGEPAGE);
    return p;
}

void nc_pages_free(void *p, size_t bytes)
{
    if (p)
        munmap(p, ((bytes ? bytes : 1) + 4095) & ~(size_t)4095);
}

bool nc_pages_bring(const void *p, size_t bytes)
{
    uintptr_t begin = (uintptr_t)p & ~(uintptr_t)4095;
#ifdef MADV_POPULATE_READ
    if (bytes && madvise((void *)begin, (uintptr_t)p + bytes - begin, MADV_POPULATE_READ) < 0)
        return errno != EFAULT && errno != EHWPOISON;                /* else a kernel that does not know it: pages come as they are touched */
#endif
    return true;
}

void nc_pages_drop(const void *p, size_t bytes)
{
    uintptr_t begin = ((uintptr_t)p + 4095) & ~(uintptr_t)4095, end = ((uintptr_t)p + bytes) & ~(uintptr_t)4095;
    if (end > begin)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}
