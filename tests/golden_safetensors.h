/* golden_safetensors.h - F32 and I64 tensors of a reference file beside its golden.json, for tests of folders that do not link formats/.
 * The repository's copy under tests/golden is used first, then NUNCHI_SHARED/golden (default ../shared).
 */
#ifndef TESTS_GOLDEN_SAFETENSORS_H
#define TESTS_GOLDEN_SAFETENSORS_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"

typedef struct golden_file { nc_arena *a; nc_json *golden, *header; nc_mapped map; const uint8_t *data; } golden_file;
typedef struct golden_tensor { const float *f; int rank; int64_t dim[8], count; } golden_tensor;      /* f NULL: not there */

static inline bool golden_open(golden_file *g, const char *folder)
{
    const char *shared = getenv("NUNCHI_SHARED");
    nc_error e = { 0 };
    uint64_t n;

    *g = (golden_file){ .a = nc_arena_new() };
    char *path = nc_arena_printf(g->a, "tests/golden/%s", folder);
    if (!nc_file_exists(path))
        path = nc_arena_printf(g->a, "%s/golden/%s", shared && *shared ? shared : "../shared", folder);
    if (nc_json_load(g->a, nc_path_join(g->a, path, "golden.json"), &g->golden, &e) < 0 ||
        nc_map_file(nc_path_join(g->a, path, "golden.safetensors"), &g->map, &e) < 0 || g->map.n < 8) {
        printf("skipped: %s: %s\n", folder, e.message);
        nc_arena_free(g->a);
        return false;
    }
    memcpy(&n, g->map.p, 8);
    if (n > g->map.n - 8 || nc_json_parse(g->a, (nc_str){ (const char *)g->map.p + 8, n }, path, &g->header, &e) < 0)
        fail_msg("%s: %s", path, e.message);
    g->data = g->map.p + 8 + n;
    return true;
}

static inline void golden_close(golden_file *g)
{
    nc_unmap_file(&g->map);
    nc_arena_free(g->a);
}

static inline golden_tensor golden_get(const golden_file *g, const char *name)
{
    const nc_json *v = nc_json_get(g->header, name);
    golden_tensor t = { .count = 1 };

    if (!v || strcmp(nc_json_string(nc_json_get(v, "dtype"), ""), "F32"))
        return t;
    NC_JSON_EACH(d, nc_json_get(v, "shape"))
        t.count *= t.dim[t.rank++] = nc_json_int(d, 0);
    float *copy = NC_NEW_ARRAY(g->a, float, t.count + 1);      /* the file's bytes may be unaligned */
    memcpy(copy, g->data + nc_json_int(nc_json_at(nc_json_get(v, "data_offsets"), 0), 0), (size_t)t.count * sizeof(float));
    t.f = copy;
    return t;
}
#endif
