/* stored.c - advice on ranges of a mapped tensor file. */
#include "formats/stored.h"
#include <sys/mman.h>
#include <unistd.h>

bool nc_stored_advise(const nc_mapped *map, const void *p, size_t n, nc_advice advice)
{
    static const int how[] = { MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED };
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)map->p, from = (uintptr_t)p;
    if (from < base || from - base > map->n || n > map->n - (from - base))
        return false;
    uintptr_t start = from & ~(page - 1);      /* base is page aligned, so start stays inside */
    if (n)
        (void)madvise((void *)start, from + n - start, how[advice]);   /* only advice: a refusal changes nothing */
    return true;
}

bool nc_stored_place(const nc_mapped *map, const void *p, size_t n, int *fd, uint64_t *offset)
{
    uintptr_t base = (uintptr_t)map->p, from = (uintptr_t)p;
    if (from < base || from - base > map->n || n > map->n - (from - base))
        return false;
    *fd = map->fd;
    *offset = from - base;
    return true;
}
