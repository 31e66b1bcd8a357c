/* json_write.c - a tree as text, in the layout of Python's json.dumps(ensure_ascii=False): ", " and ": " on one line, or indented. */
#include <math.h>

#include "base/json.h"
#include "base/number.h"

void nc_buf_json_double(nc_buf *b, double v)
{
    char text[32];
    nc_buf_adds(b, isfinite(v) ? nc_format_double(v, text) : "null");
}

static void new_line(nc_buf *b, int spaces)
{
    nc_buf_addc(b, '\n');
    nc_buf_reserve(b, (size_t)spaces);
    while (spaces-- > 0)
        nc_buf_addc(b, ' ');
}

static void write_value(nc_buf *b, const nc_json *v, int indent, int depth)
{
    switch (v->type) {
    case NC_JSON_NULL:
        nc_buf_adds(b, "null");
        return;
    case NC_JSON_BOOL:
        nc_buf_adds(b, v->boolean ? "true" : "false");
        return;
    case NC_JSON_NUMBER:
        nc_buf_add(b, v->text.p, v->text.n);
        return;
    case NC_JSON_STRING:
        nc_buf_json_string(b, v->text);
        return;
    case NC_JSON_ARRAY:
    case NC_JSON_OBJECT:
        break;
    }
    const bool object = v->type == NC_JSON_OBJECT;
    nc_buf_addc(b, object ? '{' : '[');
    NC_JSON_EACH(item, v) {
        if (indent > 0)
            new_line(b, indent * (depth + 1));
        if (object) {
            nc_buf_json_string(b, item->key);
            nc_buf_adds(b, ": ");
        }
        write_value(b, item, indent, depth + 1);
        if (item->next)
            nc_buf_adds(b, indent > 0 ? "," : ", ");
    }
    if (indent > 0 && v->first)
        new_line(b, indent * depth);
    nc_buf_addc(b, object ? '}' : ']');
}

void nc_json_write(nc_buf *b, const nc_json *v, int indent)
{
    if (v)
        write_value(b, v, indent, 0);
    else
        nc_buf_adds(b, "null");
}
