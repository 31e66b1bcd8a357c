/* golden_tensors.c - header length (8 bytes, little endian), JSON header, data. Source: the safetensors format description. */
#include "front/golden_tensors.h"
#include <string.h>

int nc_golden_tensors_open(nc_arena *a, const char *path, nc_golden_tensors *out, nc_error *e)
{
    uint64_t header = 0;
    NC_TRY(nc_map_file(path, &out->file, e));
    if (out->file.n >= 8)
        memcpy(&header, out->file.p, 8);
    int code = out->file.n < 8 || header > out->file.n - 8
                   ? nc_fail(e, NC_EFORMAT, "%s: the header does not fit in the file", path)
                   : nc_json_parse(a, (nc_str){ (const char *)out->file.p + 8, header }, path, &out->header, e);
    if (code < 0) {
        nc_unmap_file(&out->file);
        return code;
    }
    out->data = out->file.p + 8 + header;
    out->n = out->file.n - 8 - header;
    return 0;
}

bool nc_golden_tensor_get(const nc_golden_tensors *t, const char *name, nc_golden_tensor *out)
{
    const nc_json *v = nc_json_get(t->header, name), *span = nc_json_get(v, "data_offsets"), *shape = nc_json_get(v, "shape");
    const int64_t from = nc_json_int(nc_json_at(span, 0), -1), to = nc_json_int(nc_json_at(span, 1), -1);
    size_t elements = 1, bytes;

    *out = (nc_golden_tensor){ .dtype = nc_json_string(nc_json_get(v, "dtype"), "") };
    if (!shape || shape->count > 6 || from < 0 || to < from || (uint64_t)to > t->n)
        return false;
    NC_JSON_EACH(d, shape) {
        const int64_t side = nc_json_int(d, -1);
        if (side < 0 || !nc_mul_size(elements, (size_t)side, &elements))
            return false;
        out->shape[out->rank++] = side;
    }
    const size_t width = strcmp(out->dtype, "U8") == 0 ? 1 : strcmp(out->dtype, "F32") == 0 || strcmp(out->dtype, "I32") == 0 ? 4 : 8;
    if (!nc_mul_size(elements, width, &bytes) || bytes != (size_t)(to - from))
        return false;
    out->elements = (int64_t)elements;
    out->bytes = t->data + from;
    return true;
}

float *nc_golden_floats(nc_arena *a, const nc_golden_tensor *t)
{
    if (strcmp(t->dtype, "F32") != 0)
        return NULL;
    float *f = NC_NEW_ARRAY(a, float, t->elements ? t->elements : 1);
    memcpy(f, t->bytes, (size_t)t->elements * sizeof *f);
    return f;
}
