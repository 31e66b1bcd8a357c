/* fuzz_fields.c - any bytes as Donut's fields: a tree that is written as JSON. */
#include <stdlib.h>
#include <string.h>

#include "cli/ocr_fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    nc_arena *a = nc_arena_new();
    nc_buf b = { 0 };
    nc_json_write(&b, nc_ocr_fields(a, (nc_str){ exact, n }), 0);
    nc_buf_free(&b);
    nc_arena_free(a);
    free(exact);
    return 0;
}
