/* fuzz_yaml.c - any bytes as YAML: an error, or a tree that is valid JSON. */
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
    if (nc_yaml_parse(a, (nc_str){ exact, n }, "fuzz", &v, &e) == 0) {
        nc_buf b = { 0 };
        nc_json_write(&b, v, 0);
        if (nc_json_parse(a, (nc_str){ b.p, b.n }, "again", &again, &e) < 0)
            abort();
        nc_buf_free(&b);
    }
    nc_arena_free(a);
    free(exact);
    return 0;
}
