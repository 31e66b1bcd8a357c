/* fuzz_gguf.c - any bytes as a GGUF file: refused or read, and then every value and every byte of every tensor can be touched. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "formats/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double touch(const nc_gguf_value *v)
{
    double sum = 0;
    for (size_t k = 0; k < v->s.n; k++)
        sum += v->s.p[k];
    for (int64_t i = 0; v->type == NC_GGUF_ARRAY && i < v->count; i++) {
        sum += nc_gguf_item_double(v, i);
        for (size_t k = 0; v->strings && k < v->strings[i].n; k++)
            sum += v->strings[i].p[k];
        if (v->arrays)
            sum += touch(&v->arrays[i]);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    if (fd < 0)
        fd = memfd_create("fuzz.gguf", 0);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    nc_gguf *g;
    nc_error e = { 0 };
    if (nc_gguf_open(path, &g, &e) < 0) {
        if (!e.message[0])
            abort();
        return 0;
    }
    double sum = 0;
    for (int i = 0; i < nc_gguf_keys(g); i++)
        sum += touch(nc_gguf_key(g, i));
    for (int i = 0; i < nc_gguf_count(g); i++) {
        const nc_stored *t = nc_gguf_at(g, i);
        for (size_t k = 0; k < t->bytes; k++)
            sum += ((const uint8_t *)t->data)[k];
        if (nc_gguf_find(g, t->name) != t)
            abort();
    }
    volatile double sink = sum;
    (void)sink;
    nc_gguf_close(g);
    return 0;
}
