/* golden.h - what the tests of pictures share: tensors of a small safetensors file, JSON, and where the files lie.
 * The repository's own copy under tests/golden is used first, then NUNCHI_SHARED/golden (default ../shared).
 */
#ifndef TESTS_MEDIA_GOLDEN_H
#define TESTS_MEDIA_GOLDEN_H
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *shared(void)
{
    const char *s = getenv("NUNCHI_SHARED");
    return s && *s ? s : "../shared";
}

/* "processors/clip" -> a folder that exists, or NULL. */
static inline char *golden_path(nc_arena *a, const char *name)
{
    char *p = nc_arena_printf(a, "tests/golden/%s", name);
    if (nc_file_exists(p))
        return p;
    p = nc_arena_printf(a, "%s/golden/%s", shared(), name);
    return nc_file_exists(p) ? p : NULL;
}

/* A picture of a case: in the golden images folder, else in the shared data; NULL when neither is there. */
static inline char *picture_path(nc_arena *a, const char *file)
{
    char *p = golden_path(a, nc_arena_printf(a, "processors/images/%s", file));
    if (p)
        return p;
    p = nc_arena_printf(a, "%s/data/%s", shared(), file);
    return nc_file_exists(p) ? p : NULL;
}

typedef struct tensors { nc_mapped file; nc_json *header; const uint8_t *data; nc_arena *a; } tensors;

static inline bool tensors_open(nc_arena *a, const char *path, tensors *t)
{
    nc_error e = { 0 };
    if (!path || nc_map_file(path, &t->file, &e) < 0)
        return false;
    uint64_t n;
    memcpy(&n, t->file.p, 8);
    t->a = a;
    t->data = t->file.p + 8 + n;
    return nc_json_parse(a, (nc_str){ (const char *)t->file.p + 8, n }, path, &t->header, &e) == 0;
}

static inline const void *tensor(const tensors *t, const char *name, int64_t shape[4], int *rank)
{
    const nc_json *v = nc_json_get(t->header, name);
    if (!v)
        return NULL;
    *rank = 0;
    NC_JSON_EACH(d, nc_json_get(v, "shape"))
        shape[(*rank)++] = nc_json_int(d, 0);
    return t->data + nc_json_int(nc_json_at(nc_json_get(v, "data_offsets"), 0), 0);
}
#endif
