/* arena.h - memory that lives and dies together. One arena a model, graph, parse result, step or request.
 *
 * The arena owns everything allocated from it; nc_arena_free gives all back. Allocation failure ends the process with a
 * message on stderr: out of memory here means the plan was wrong, the small things it holds are not recoverable. Sizes that come from input
 * are checked against limits before they reach an arena.
 */
#ifndef NC_BASE_ARENA_H
#define NC_BASE_ARENA_H
#include "base/status.h"

typedef struct nc_arena nc_arena;

nc_arena *nc_arena_new(void);
void nc_arena_free(nc_arena *a);                       /* NULL is allowed */
void nc_arena_reset(nc_arena *a);                      /* forgets all, keeps the largest block for reuse */
void *nc_arena_alloc(nc_arena *a, size_t bytes);       /* zeroed, 64-byte aligned when bytes >= 64, else 16 */
void *nc_arena_copy(nc_arena *a, const void *from, size_t bytes);
char *nc_arena_strdup(nc_arena *a, const char *s);
char *nc_arena_strndup(nc_arena *a, const char *s, size_t n);
char *nc_arena_printf(nc_arena *a, const char *format, ...) NC_PRINTF(2, 3);
size_t nc_arena_bytes(const nc_arena *a);              /* bytes held from the system */

#define NC_NEW(arena, type) ((type *)nc_arena_alloc((arena), sizeof(type)))
#define NC_NEW_ARRAY(arena, type, n) ((type *)nc_arena_alloc((arena), sizeof(type) * (size_t)(n)))

/* Heap calls of the same promise, for things that outgrow an arena; free() gives back. */
void *nc_xmalloc(size_t bytes);
void *nc_xcalloc(size_t count, size_t bytes);
void *nc_xrealloc(void *p, size_t bytes);
char *nc_xstrdup(const char *s);

/* Large zeroed blocks straight from the system, 2 MiB aligned with huge pages asked for; NULL when refused (the caller reports). */
void *nc_pages_alloc(size_t bytes);
void nc_pages_free(void *p, size_t bytes);
/* Of a file's read-only mapping: the pages that hold p[0..bytes) are brought in and mapped at once, without a fault for each; false when the file cannot be
 * read there. Whole pages inside p[0..bytes) are given back, and read again when touched. */
bool nc_pages_bring(const void *p, size_t bytes);
void nc_pages_drop(const void *p, size_t bytes);
#endif
