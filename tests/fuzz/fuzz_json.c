/* fuzz_json.c - any bytes as JSON: an error, or a tree that is written and read back equal. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    nc_arena *a = nc_arena_new();
    nc_json *v, *again;
    nc_error e;
    if (nc_json_parse(a, (nc_str){ exact, n }, "fuzz", &v, &e) == 0) {
        nc_buf b = { 0 };
        nc_json_write(&b, v, (int)(n % 3));
        if (nc_json_parse(a, (nc_str){ b.p, b.n }, "again", &again, &e) < 0)
            abort();
        nc_buf c = { 0 };
        nc_json_write(&c, again, (int)(n % 3));
        if (strcmp(b.p, c.p) || !nc_json_equal(again, nc_json_clone(a, again)))
            abort();
        nc_buf_free(&b);
        nc_buf_free(&c);
    }
    nc_arena_free(a);
    free(exact);
    return 0;
}
