/* fuzz_spm.c - arbitrary bytes as a sentencepiece .model; when it loads, texts go through it and back. */
#include <stdlib.h>
#include <string.h>

#include "text/spm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const nc_tokenizer *t, nc_str text)
{
    nc_error e = { 0 };
    nc_encoding full = { 0 };
    nc_buf out = { 0 };
    nc_tokenizer_encode_full(t, text, NULL, NC_ENCODE_SPECIAL | NC_ENCODE_OFFSETS, &full, &e);
    nc_tokenizer_decode(t, full.ids, full.n, false, &out);
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
    if (nc_spm_parse(a, (nc_str){ copy, size }, "tokenizer.model", &tree, &e) >= 0 && nc_tokenizer_from_json(tree, NULL, "tokenizer.model", &t, &e) >= 0) {
        use(t, NC_STR(" Hello,  w\xc3\xa9rld 123 \xed\x95\x9c\xea\xb5\xad\n\t<s> \xf0\x9f\x9a\xa2"));
        use(t, NC_STR(""));
        use(t, NC_STR("aaaa  bbbb "));
        nc_tokenizer_free(t);
    }
    nc_arena_free(a);
    free(copy);
    return 0;
}
