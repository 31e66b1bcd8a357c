/* fuzz_gguf_model.c - any bytes as a GGUF file that stands alone: refused, or a config, a model and its weights. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "load/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    nc_loaded *l = NULL;
    nc_error e = { 0 };
    nc_load_options o = { .weights = { NC_F32, false, NULL, nc_kernels_best() } };
    if (!path[0])
        snprintf(path, sizeof path, "/tmp/nunchi-fuzz-%ld.gguf", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    fwrite(data, 1, size, f);
    fclose(f);
    if (nc_load(path, &o, &l, &e) < 0) {
        if (!e.message[0])
            abort();
    } else {
        nc_loaded_free(l);
    }
    unlink(path);
    return 0;
}
