/* fuzz_safetensors.c - any bytes as a safetensors file: refused or read, and then every byte of every tensor can be touched. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reader maps a file: the input goes to one in memory, whose pages end where the input does. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    if (fd < 0)
        fd = memfd_create("fuzz.safetensors", 0);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    nc_safetensors *s;
    nc_error e = { 0 };
    if (nc_safetensors_open(path, &s, &e) < 0) {
        if (!e.message[0])
            abort();
        return 0;
    }
    unsigned sum = 0;
    for (int i = 0; i < nc_safetensors_count(s); i++) {
        const nc_stored *t = nc_safetensors_at(s, i);
        for (size_t k = 0; k < t->bytes; k++)
            sum += ((const uint8_t *)t->data)[k];
        if (nc_safetensors_find(s, t->name) != t || nc_dtype_bytes(t->dtype, nc_shape_count(&t->shape)) != t->bytes)
            abort();
    }
    volatile unsigned sink = sum;
    (void)sink;
    nc_safetensors_close(s);
    return 0;
}
