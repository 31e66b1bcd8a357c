/* fuzz_tokenizer.c - arbitrary bytes as tokenizer.json; when it loads, texts go through it and back, whole and as a stream. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const nc_tokenizer *t, nc_str text)
{
    nc_error e = { 0 };
    nc_ids ids = { 0 };
    nc_encoding full = { 0 };
    nc_buf out = { 0 };
    nc_detok *d = nc_detok_new(t, true);
    nc_tokenizer_encode(t, text, NC_ENCODE_SPECIAL, &ids, &e);
    nc_tokenizer_encode_full(t, text, &text, NC_ENCODE_SPECIAL | NC_ENCODE_OFFSETS, &full, &e);
    nc_tokenizer_decode(t, ids.p, ids.n, false, &out);
    for (size_t i = 0; i < ids.n && i < 64; i++)
        nc_detok_add(d, ids.p[i], &out);
    nc_detok_flush(d, &out);
    nc_detok_free(d);
    nc_ids_free(&ids);
    nc_encoding_free(&full);
    nc_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    nc_arena *a = nc_arena_new();
    nc_json *tree;
    nc_error e = { 0 };
    nc_tokenizer *t;
    if (nc_json_parse(a, (nc_str){ copy, size }, "tokenizer.json", &tree, &e) >= 0 && nc_tokenizer_from_json(tree, NULL, "tokenizer.json", &t, &e) >= 0) {
        use(t, NC_STR(" Hello,  w\xc3\xa9rld 123 \xed\x95\x9c\xea\xb5\xad\n\t<s> \xf0\x9f\x9a\xa2"));
        use(t, NC_STR(""));
        use(t, (nc_str){ copy, size < 200 ? size : 200 });
        nc_tokenizer_free(t);
    }
    nc_arena_free(a);
    free(copy);
    return 0;
}
