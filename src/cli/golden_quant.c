/* golden_quant.c - golden/quant: ggml's blocks of the types this program has; the other kinds come with later releases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/golden.h"
#include "formats/ggml_blocks.h"
#include "formats/safetensors.h"

static const nc_stored *find(const nc_safetensors *s, const char *type, const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", type, what);
    return nc_safetensors_find(s, name);
}

/* Blocks to values, bit for bit; values to blocks, byte for byte. */
static bool check_type(const nc_safetensors *s, const char *name, nc_dtype type, int *compared)
{
    static const char *const sets[] = { "data", "random" };
    const nc_stored *x = nc_safetensors_find(s, "x");
    bool fine = true;
    for (int i = 0; i < NC_COUNT(sets); i++) {
        char key[64];
        snprintf(key, sizeof key, "%s.values", sets[i]);
        const nc_stored *blocks = find(s, name, sets[i]), *values = find(s, name, key);
        if (!blocks || !values)
            continue;
        int64_t n = nc_shape_count(&values->shape);
        float *out = nc_xmalloc((size_t)n * 4 + 64);
        bool sized = nc_dtype_bytes(type, n) == blocks->bytes && values->bytes == (size_t)n * 4;
        fine = fine && sized && nc_ggml_dequantize(type, blocks->data, n, out, NULL) == 0 && !memcmp(out, values->data, values->bytes);
        free(out);
        ++*compared;
        if (i == 0 && x && nc_shape_count(&x->shape) == n) {
            void *made = nc_xmalloc(blocks->bytes + 64);
            fine = fine && nc_ggml_quantize(type, x->data, n, made, NULL) == 0 && !memcmp(made, blocks->data, blocks->bytes);
            free(made);
            ++*compared;
        }
    }
    return fine;
}

void nc_golden_run_quant(nc_golden_tally *t, const char *path, const char *folder)
{
    static const struct { const char *name; nc_dtype type; } types[] = { { "q8_0", NC_Q8_0 }, { "q4_0", NC_Q4_0 }, { "bf16", NC_BF16 }, { "f16", NC_F16 } };
    nc_arena *a = nc_arena_new();
    nc_safetensors *s = NULL;
    nc_error e = { 0 };
    int compared = 0;
    const char *wrong = NULL;
    if (strcmp(nc_path_base(folder), "gguf-blocks"))
        nc_golden_line(t, NC_CASE_SKIPPED, path, "this storage comes with a later release");
    else if (nc_safetensors_open(nc_path_join(a, folder, "golden.safetensors"), &s, &e) < 0)
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", e.message);
    else {
        for (int i = 0; i < NC_COUNT(types); i++)
            if (!check_type(s, types[i].name, types[i].type, &compared))
                wrong = types[i].name;
        if (wrong)
            nc_golden_line(t, NC_CASE_FAILED, path, "%s differs from ggml", wrong);
        else
            nc_golden_line(t, compared ? NC_CASE_OK : NC_CASE_SKIPPED, path, compared ? "%d arrays equal; q8_0, q4_0, bf16 and f16 of ggml's types" : "no type of this release", compared);
    }
    nc_safetensors_close(s);
    nc_arena_free(a);
}
