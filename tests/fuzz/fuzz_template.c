/* fuzz_template.c - arbitrary bytes as a chat template, compiled and rendered with a small conversation under tight limits. */
#include <stdlib.h>
#include <string.h>

#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char context[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"\xed\x95\x9c\"}]}],"
                                  " \"tools\": [{\"name\": \"f\", \"p\": {\"x\": 1.5, \"big\": 123456789012345678901234567890}}], \"n\": 3, \"s\": \"a b,c\", \"z\": null, \"t\": true}";
    char *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    nc_arena *a = nc_arena_new();
    nc_json *tree;
    nc_error e = { 0 };
    nc_template *t;
    nc_buf out = { 0 };
    nc_template_spans spans = { 0 };
    nc_template_limits limits = { .output = 1 << 16, .steps = 20000, .now = 1.7e9, .now_is_utc = true };
    if (nc_template_compile((nc_str){ copy, size }, &t, &e) >= 0) {
        if (nc_json_parse(a, NC_STR(context), "context", &tree, &e) >= 0)
            nc_template_render(t, tree, &limits, &out, &spans, &e);
        nc_template_free(t);
    }
    nc_template_spans_free(&spans);
    nc_buf_free(&out);
    nc_arena_free(a);
    free(copy);
    return 0;
}
