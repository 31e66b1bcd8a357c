/* json_parse.c - RFC 8259 with Python's NaN, Infinity and -Infinity, into a tree in an arena.
 *
 * Strings are UTF-8 and checked; an escaped surrogate without its other half becomes U+FFFD (Python keeps it, UTF-8 cannot).
 * A duplicate key keeps the place of the first and the value of the last.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

enum { MAX_DEPTH = 200, NODES = 64 };
#define MAX_BYTES ((size_t)1 << 30)

struct parser {
    nc_arena *a;
    const char *file, *start, *p, *end, *line_start;
    int line, depth;
    nc_json *free_nodes;            /* nodes are taken from the arena NODES at a time */
    int free_count;
    nc_error *e;
};

static int fail_at(struct parser *s, int code, const char *what)
{
    return nc_fail(s->e, code, "%s:%d:%d: %s", s->file, s->line, (int)(s->p - s->line_start) + 1, what);
}

static inline void skip_space(struct parser *s)
{
    if (s->p < s->end && (unsigned char)*s->p > ' ')
        return;
    for (; s->p < s->end; s->p++) {
        if (*s->p == '\n') {
            s->line++;
            s->line_start = s->p + 1;
        } else if (*s->p != ' ' && *s->p != '\t' && *s->p != '\r') {
            return;
        }
    }
}

static nc_json *new_node(struct parser *s, nc_json_type type)
{
    if (s->free_count == 0) {
        s->free_nodes = NC_NEW_ARRAY(s->a, nc_json, NODES);
        s->free_count = NODES;
    }
    nc_json *v = &s->free_nodes[NODES - s->free_count--];
    v->type = type;
    v->line = s->line;
    v->column = (int)(s->p - s->line_start) + 1;
    return v;
}

/* Four hexadecimal digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

/* After a backslash at s->p: writes what it stands for to out, moves on, returns the bytes written or a negative status. */
static int read_escape(struct parser *s, char out[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->end - s->p < 2)
        return fail_at(s, NC_EFORMAT, "the string is not closed");
    const char *at = s->p[1] ? strchr(from, s->p[1]) : NULL;
    if (at) {
        out[0] = to[at - from];
        s->p += 2;
        return 1;
    }
    int unit = s->p[1] == 'u' ? hex4(s->p + 2, s->end) : -1;
    if (unit < 0)
        return fail_at(s, NC_EFORMAT, "unknown escape in a string");
    s->p += 6;
    uint32_t code = (uint32_t)unit;
    if (unit >= 0xd800 && unit <= 0xdbff && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        int low = hex4(s->p + 2, s->end);
        if (low >= 0xdc00 && low <= 0xdfff) {
            code = 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
            s->p += 6;
        }
    }
    return nc_utf8_encode(code, out);
}

/* A string at its opening quote. What it decodes to is never longer than its spelling. */
static int read_string(struct parser *s, nc_str *out)
{
    const char *q = s->p + 1;
    while (q < s->end && (unsigned char)*q >= 0x20 && (unsigned char)*q < 0x80 && *q != '"' && *q != '\\')
        q++;
    if (q < s->end && *q == '"') {
        *out = (nc_str){ nc_arena_strndup(s->a, s->p + 1, (size_t)(q - s->p - 1)), (size_t)(q - s->p - 1) };
        s->p = q + 1;
        return 0;
    }
    const char *close = q;
    while (close < s->end && *close != '"')
        close += *close == '\\' && close + 1 < s->end ? 2 : 1;
    if (close >= s->end)
        return fail_at(s, NC_EFORMAT, "the string is not closed");
    char *text = nc_arena_alloc(s->a, (size_t)(close - s->p));
    size_t n = 0;
    for (s->p++; s->p < close;) {
        uint32_t code;
        if (*s->p == '\\') {
            int bytes = read_escape(s, text + n);
            NC_TRY(bytes);
            n += (size_t)bytes;
            continue;
        }
        int bytes = nc_utf8_decode(s->p, (size_t)(close - s->p), &code);
        if (bytes <= 0)
            return fail_at(s, NC_EFORMAT, "invalid UTF-8 in a string");
        if (code < 0x20)
            return fail_at(s, NC_EFORMAT, "control character in a string; write it as \\n, \\t or \\u00..");
        memcpy(text + n, s->p, (size_t)bytes);
        n += (size_t)bytes;
        s->p += bytes;
    }
    text[n] = 0;
    *out = (nc_str){ text, n };
    s->p = close + 1;
    return 0;
}

static const char *digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static bool word_at(const struct parser *s, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(s->end - s->p) >= n && memcmp(s->p, word, n) == 0;
}

static int read_number(struct parser *s, nc_json **out)
{
    static const char *const words[] = { "NaN", "Infinity", "-Infinity" };
    *out = new_node(s, NC_JSON_NUMBER);
    for (int i = 0; (*s->p < '0' || *s->p > '9') && i < NC_COUNT(words); i++)
        if (word_at(s, words[i])) {
            (*out)->text = nc_str_of(words[i]);
            s->p += strlen(words[i]);
            return 0;
        }
    const char *q = s->p + (*s->p == '-'), *whole = q;
    q = digits(q, s->end);
    if (q == whole || (*whole == '0' && q > whole + 1))
        return fail_at(s, NC_EFORMAT, q == whole ? "a value was expected" : "a number must not begin with 0");
    if (q < s->end && *q == '.') {
        const char *fraction = digits(q + 1, s->end);
        if (fraction == q + 1)
            return fail_at(s, NC_EFORMAT, "digits must follow the decimal point");
        q = fraction;
    }
    if (q < s->end && (*q == 'e' || *q == 'E')) {
        const char *power = q + 1;
        power += power < s->end && (*power == '+' || *power == '-');
        q = digits(power, s->end);
        if (q == power)
            return fail_at(s, NC_EFORMAT, "digits must follow the exponent's e");
    }
    (*out)->text = (nc_str){ nc_arena_strndup(s->a, s->p, (size_t)(q - s->p)), (size_t)(q - s->p) };
    s->p = q;
    return 0;
}

/* Puts the later value in the earlier node's place. */
static void take_value(nc_json *earlier, const nc_json *later)
{
    nc_json *next = earlier->next;
    *earlier = *later;
    earlier->next = next;
}

static void drop_duplicates(nc_json *object)
{
    if (object->count < 2)
        return;
    size_t slots = 4;
    while (slots < 2 * (size_t)object->count)
        slots *= 2;
    nc_json *small[64] = { 0 }, **seen = slots <= 64 ? small : nc_xcalloc(slots, sizeof *seen);
    for (nc_json *v = object->first, *last = NULL; v; v = v->next) {
        size_t i = nc_hash64(v->key.p, v->key.n, 0) & (slots - 1);
        while (seen[i] && !nc_str_eq(seen[i]->key, v->key))
            i = (i + 1) & (slots - 1);
        if (seen[i]) {
            take_value(seen[i], v);
            last->next = v->next;
            object->count--;
        } else {
            seen[i] = v;
            last = v;
        }
    }
    if (seen != small)
        free(seen);
}

static int read_value(struct parser *s, nc_json **out);

static int read_container(struct parser *s, nc_json **out)
{
    const bool object = *s->p == '{';
    const char close = object ? '}' : ']';
    nc_json *v = *out = new_node(s, object ? NC_JSON_OBJECT : NC_JSON_ARRAY), **tail = &v->first;
    if (++s->depth > MAX_DEPTH)
        return fail_at(s, NC_ELIMIT, "nested more than 200 deep");
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == close) {
        s->p++;
        s->depth--;
        return 0;
    }
    for (;;) {
        nc_str key = { NULL, 0 };
        nc_json *item;
        if (object) {
            if (s->p >= s->end || *s->p != '"')
                return fail_at(s, NC_EFORMAT, "a key in double quotes was expected");
            NC_TRY(read_string(s, &key));
            skip_space(s);
            if (s->p >= s->end || *s->p != ':')
                return fail_at(s, NC_EFORMAT, "':' was expected after the key");
            s->p++;
            skip_space(s);
        }
        NC_TRY(read_value(s, &item));
        item->key = key;
        *tail = item;
        tail = &item->next;
        v->count++;
        skip_space(s);
        if (s->p < s->end && *s->p == close)
            break;
        if (s->p >= s->end || *s->p != ',')
            return fail_at(s, NC_EFORMAT, object ? "',' or '}' was expected" : "',' or ']' was expected");
        s->p++;
        skip_space(s);
    }
    s->p++;
    s->depth--;
    if (object)
        drop_duplicates(v);
    return 0;
}

static int read_value(struct parser *s, nc_json **out)
{
    if (s->p >= s->end)
        return fail_at(s, NC_EFORMAT, "the text ends where a value was expected");
    switch (*s->p) {
    case '{':
    case '[':
        return read_container(s, out);
    case '"':
        *out = new_node(s, NC_JSON_STRING);
        return read_string(s, &(*out)->text);
    case 't':
    case 'f':
    case 'n':
        break;
    default:
        return read_number(s, out);
    }
    if (word_at(s, "true") || word_at(s, "false")) {
        *out = new_node(s, NC_JSON_BOOL);
        (*out)->boolean = *s->p == 't';
        s->p += *s->p == 't' ? 4 : 5;
        return 0;
    }
    if (word_at(s, "null")) {
        *out = new_node(s, NC_JSON_NULL);
        s->p += 4;
        return 0;
    }
    return read_number(s, out);
}

int nc_json_parse(nc_arena *a, nc_str text, const char *file, nc_json **out, nc_error *e)
{
    *out = NULL;
    struct parser s = { .a = a, .file = file ? file : "json", .line = 1, .e = e };
    s.start = s.p = s.line_start = text.n ? text.p : "";
    s.end = s.p + text.n;
    if (text.n > MAX_BYTES)
        return fail_at(&s, NC_ELIMIT, "the text is larger than 1 GiB");
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        s.p = s.line_start = s.p + 3;
    nc_json *v = NULL;
    skip_space(&s);
    NC_TRY(read_value(&s, &v));
    skip_space(&s);
    if (s.p < s.end)
        return fail_at(&s, NC_EFORMAT, "something follows the value");
    *out = v;
    return 0;
}

int nc_json_load(nc_arena *a, const char *path, nc_json **out, nc_error *e)
{
    nc_buf b = { 0 };
    *out = NULL;
    int code = nc_file_read(path, MAX_BYTES, &b, e);
    if (code == 0)
        code = nc_json_parse(a, (nc_str){ b.p, b.n }, path, out, e);
    nc_buf_free(&b);
    return code;
}
