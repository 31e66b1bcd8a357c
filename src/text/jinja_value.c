/* jinja_value.c - values as Python sees them: truth, equality, order, length, iteration, str() and repr(). */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

double nc_jas_double(jvalue v)
{
    return v.type == J_FLOAT ? v.f : (double)jas_int(v);
}

static void account(jstate *s, size_t bytes)
{
    s->made += bytes;
    if (s->made > s->limits.output * 4)
        nc_jfail(s, "LimitError", "the template made more than %zu bytes of text", s->limits.output * 4);
    nc_jstep(s, (int64_t)(bytes / 64));
}

jvalue nc_jcopy(jstate *s, const char *p, size_t n)
{
    account(s, n);
    if (s->failed)
        return jundefined();
    return jstr((nc_str){ nc_arena_strndup(s->arena, p ? p : "", n), n });
}

jvalue nc_jbuf(jstate *s, nc_buf *b)
{
    jvalue v = nc_jcopy(s, b->p, b->n);
    nc_buf_free(b);
    return v;
}

jvalue nc_jescaped(jstate *s, jvalue v)
{
    nc_str t = nc_jtext(s, v);
    nc_buf out = { 0 };
    if (v.type == J_STRING && v.markup)
        return v;
    for (size_t i = 0; i < t.n; i++) {
        char x = t.p[i];
        if (x == '&' || x == '<' || x == '>' || x == '\'' || x == '"')
            nc_buf_adds(&out, x == '&' ? "&amp;" : x == '<' ? "&lt;" : x == '>' ? "&gt;" : x == '\'' ? "&#39;" : "&#34;");
        else
            nc_buf_addc(&out, x);
    }
    v = nc_jbuf(s, &out);
    v.markup = true;
    return v;
}

jvalue nc_jmissing_of(jstate *s, const char *error, const char *format, ...)
{
    nc_error e;
    va_list args;
    va_start(args, format);
    nc_failv(&e, NC_EINVAL, format, args);
    va_end(args);
    jvalue v = jundefined();
    v.missing = NC_NEW(s->arena, jmissing);
    v.missing->error = error;
    v.missing->message = nc_str_of(nc_arena_strdup(s->arena, e.message));
    return v;
}

jvalue nc_jundefined_fail(jstate *s, jvalue v)
{
    if (!v.missing)
        return nc_jfail(s, "UndefinedError", "the value is undefined");
    return nc_jfail(s, v.missing->error, "%s", v.missing->message.p);
}

jvalue nc_jlist_new(jstate *s, jtype type, const char *kind)
{
    jvalue v = { .type = type };
    v.list = NC_NEW(s->arena, jlist);
    v.list->kind = kind;
    return v;
}

void nc_jlist_add(jstate *s, jlist *l, jvalue v)
{
    if (!nc_jstep(s, 1))
        return;
    if (l->n == l->capacity) {
        int capacity = l->capacity ? l->capacity * 2 : 8;
        jvalue *p = NC_NEW_ARRAY(s->arena, jvalue, capacity);
        if (l->n)
            memcpy(p, l->p, (size_t)l->n * sizeof *p);
        l->p = p;
        l->capacity = capacity;
        account(s, (size_t)capacity * sizeof *p / 4);
    }
    l->p[l->n++] = v;
}

jvalue nc_jdict_new(jstate *s)
{
    jvalue v = { .type = J_DICT };
    v.dict = NC_NEW(s->arena, jdict);
    return v;
}

const jvalue *nc_jdict_get(jstate *s, const jdict *d, jvalue key)
{
    nc_jstep(s, d->n / 32);
    for (int i = 0; i < d->n; i++) {
        const jvalue *k = &d->p[i].key;
        if (key.type == J_STRING && k->type == J_STRING ? nc_str_eq(key.s, k->s) : nc_jequal(s, *k, key))
            return &d->p[i].value;
    }
    return NULL;
}

void nc_jdict_set(jstate *s, jdict *d, jvalue key, jvalue value)
{
    jvalue *known = (jvalue *)nc_jdict_get(s, d, key);
    if (known) {
        *known = value;
        return;
    }
    if (!nc_jstep(s, 1))
        return;
    if (d->n == d->capacity) {
        int capacity = d->capacity ? d->capacity * 2 : 8;
        jpair *p = NC_NEW_ARRAY(s->arena, jpair, capacity);
        if (d->n)
            memcpy(p, d->p, (size_t)d->n * sizeof *p);
        d->p = p;
        d->capacity = capacity;
        account(s, (size_t)capacity * sizeof *p / 4);
    }
    d->p[d->n++] = (jpair){ key, value };
}

static jvalue number_from(jstate *s, nc_str t)
{
    nc_int value = 0;
    bool negative = t.n && t.p[0] == '-', whole = true;
    for (size_t i = negative; i < t.n; i++)
        whole = whole && t.p[i] >= '0' && t.p[i] <= '9';
    if (!whole) {
        nc_json v = { .type = NC_JSON_NUMBER, .text = t };
        return jfloat(nc_json_double(&v, NAN));
    }
    for (size_t i = negative; i < t.n; i++) {
        if (__builtin_mul_overflow(value, (nc_int)10, &value) || __builtin_sub_overflow(value, (nc_int)(t.p[i] - '0'), &value)) {
            jvalue big = nc_jcopy(s, t.p, t.n);
            big.type = J_BIG;
            return big;
        }
    }
    return jint(negative ? value : -value);
}

jvalue nc_jfrom_json(jstate *s, const nc_json *v)
{
    jvalue out = jnone();
    if (!v || s->failed)
        return out;
    switch (v->type) {
    case NC_JSON_NULL: return out;
    case NC_JSON_BOOL: return jbool(v->boolean);
    case NC_JSON_NUMBER: return number_from(s, v->text);
    case NC_JSON_STRING: return jstr(v->text);
    case NC_JSON_ARRAY:
        if (!nc_jdeeper(s))
            return out;
        out = nc_jlist_new(s, J_LIST, "list");
        NC_JSON_EACH(item, v)
            nc_jlist_add(s, out.list, nc_jfrom_json(s, item));
        s->depth--;
        return out;
    case NC_JSON_OBJECT:
        if (!nc_jdeeper(s))
            return out;
        out = nc_jdict_new(s);
        out.dict->p = NC_NEW_ARRAY(s->arena, jpair, v->count + 1);
        out.dict->capacity = v->count + 1;
        NC_JSON_EACH(item, v) {
            nc_jstep(s, 1);
            out.dict->p[out.dict->n++] = (jpair){ jstr(item->key), nc_jfrom_json(s, item) };
        }
        s->depth--;
        return out;
    }
    return out;
}

const char *nc_jtype_name(jvalue v)
{
    switch (v.type) {
    case J_UNDEFINED: return "Undefined";
    case J_NONE: return "NoneType";
    case J_BOOL: return "bool";
    case J_INT:
    case J_BIG: return "int";
    case J_FLOAT: return "float";
    case J_STRING: return "str";
    case J_LIST: return "list";
    case J_TUPLE: return "tuple";
    case J_DICT: return "dict";
    case J_RANGE: return "range";
    case J_VIEW:
    case J_ITERATOR: return v.list->kind;
    case J_NAMESPACE: return "Namespace";
    case J_FUNCTION: return "function";
    case J_METHOD: return "builtin_function_or_method";
    case J_MACRO: return "Macro";
    case J_LOOP: return "LoopContext";
    case J_CYCLER: return "Cycler";
    case J_JOINER: return "Joiner";
    case J_BLOCK: return "BlockReference";
    case J_SELF: return "TemplateReference";
    }
    return "object";
}

const char *nc_jobject_name(jstate *s, jvalue v)
{
    if (v.type == J_NONE)
        return "None";
    const char *module = v.type == J_MACRO || v.type == J_LOOP || v.type == J_BLOCK || v.type == J_SELF ? "jinja2.runtime." :
                         v.type == J_NAMESPACE || v.type == J_CYCLER || v.type == J_JOINER ? "jinja2.utils." : "";
    return nc_arena_printf(s->arena, "%s%s object", module, nc_jtype_name(v));
}

bool nc_jtruth(jvalue v)
{
    switch (v.type) {
    case J_UNDEFINED:
    case J_NONE: return false;
    case J_BOOL: return v.b;
    case J_INT: return v.i != 0;
    case J_FLOAT: return v.f != 0;
    case J_STRING: return v.s.n > 0;
    case J_LIST:
    case J_TUPLE:
    case J_VIEW: return v.list->n > 0;
    case J_DICT: return v.dict->n > 0;
    case J_RANGE: return v.range->n > 0;
    default: return true;
    }
}

void nc_jint_repr(nc_buf *b, nc_int i)
{
    char text[48];
    int at = sizeof text;
    bool negative = i < 0;
    do {
        int digit = (int)(i % 10);
        text[--at] = (char)('0' + (digit < 0 ? -digit : digit));
        i /= 10;
    } while (i);
    if (negative)
        text[--at] = '-';
    nc_buf_add(b, text + at, sizeof text - (size_t)at);
}

/* The shortest digits that read back equal; an exponent below -4 or from 16 on. */
void nc_jfloat_repr(nc_buf *b, double f)
{
    char text[40], digits[24];
    if (isnan(f) || isinf(f)) {
        nc_buf_adds(b, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    int precision = 1;
    do
        snprintf(text, sizeof text, "%.*e", precision - 1, f);
    while (strtod(text, NULL) != f && precision++ < 17);
    int n = 0, exponent = atoi(strchr(text, 'e') + 1);
    for (const char *c = text; *c && *c != 'e'; c++)
        if (*c >= '0' && *c <= '9')
            digits[n++] = *c;
    if (text[0] == '-')
        nc_buf_addc(b, '-');
    if (exponent < -4 || exponent >= 16) {
        nc_buf_addc(b, digits[0]);
        if (n > 1) {
            nc_buf_addc(b, '.');
            nc_buf_add(b, digits + 1, (size_t)n - 1);
        }
        nc_buf_printf(b, "e%c%02d", exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
        return;
    }
    if (exponent < 0) {
        nc_buf_adds(b, "0.");
        for (int i = -1; i > exponent; i--)
            nc_buf_addc(b, '0');
        nc_buf_add(b, digits, (size_t)n);
        return;
    }
    for (int i = 0; i < n || i <= exponent; i++) {
        if (i == exponent + 1)
            nc_buf_addc(b, '.');
        nc_buf_addc(b, i < n ? digits[i] : '0');
    }
    if (n <= exponent + 1)
        nc_buf_adds(b, ".0");
}

/* Python's str.isprintable, whose complement repr() escapes. */
static bool is_printable(uint32_t c)
{
    if (c < 0x7f)
        return c >= 0x20;
    return !nc_char_is_unprintable(c);
}

static void string_repr(nc_buf *b, nc_str t)
{
    bool single = memchr(t.p, '\'', t.n), both = single && memchr(t.p, '"', t.n);
    char quote = single && !both ? '"' : '\'';
    nc_buf_addc(b, quote);
    for (size_t i = 0; i < t.n;) {
        uint32_t c = 0;
        int length = nc_utf8_decode(t.p + i, t.n - i, &c);
        if (length <= 0) {
            length = 1;
            c = 0xfffd;
        }
        if (c == (uint32_t)quote || c == '\\')
            nc_buf_printf(b, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            nc_buf_adds(b, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (is_printable(c))
            nc_buf_add(b, t.p + i, (size_t)length);
        else
            nc_buf_printf(b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        i += (size_t)length;
    }
    nc_buf_addc(b, quote);
}

static void list_repr(jstate *s, nc_buf *b, jvalue v)
{
    bool is_tuple = v.type == J_TUPLE;
    if (v.type == J_VIEW)
        nc_buf_printf(b, "%s(", v.list->kind);
    nc_buf_addc(b, is_tuple ? '(' : '[');
    for (int i = 0; i < v.list->n && !s->failed; i++) {
        if (i)
            nc_buf_adds(b, ", ");
        nc_jrepr(s, b, v.list->p[i]);
    }
    nc_buf_adds(b, is_tuple ? v.list->n == 1 ? ",)" : ")" : "]");
    if (v.type == J_VIEW)
        nc_buf_addc(b, ')');
}

static void dict_repr(jstate *s, nc_buf *b, jvalue v)
{
    nc_buf_adds(b, v.type == J_NAMESPACE ? "<Namespace {" : "{");
    for (int i = 0; i < v.dict->n && !s->failed; i++) {
        if (i)
            nc_buf_adds(b, ", ");
        nc_jrepr(s, b, v.dict->p[i].key);
        nc_buf_adds(b, ": ");
        nc_jrepr(s, b, v.dict->p[i].value);
    }
    nc_buf_adds(b, v.type == J_NAMESPACE ? "}>" : "}");
}

void nc_jrepr(jstate *s, nc_buf *b, jvalue v)
{
    if (!nc_jstep(s, 1) || !nc_jdeeper(s))
        return;
    if (b->n > s->limits.output)
        nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
    switch (v.type) {
    case J_UNDEFINED: nc_buf_adds(b, "Undefined"); break;
    case J_NONE: nc_buf_adds(b, "None"); break;
    case J_BOOL: nc_buf_adds(b, v.b ? "True" : "False"); break;
    case J_INT: nc_jint_repr(b, v.i); break;
    case J_BIG: nc_buf_add(b, v.s.p, v.s.n); break;
    case J_FLOAT: nc_jfloat_repr(b, v.f); break;
    case J_STRING: string_repr(b, v.s); break;
    case J_LIST:
    case J_TUPLE:
    case J_VIEW: list_repr(s, b, v); break;
    case J_DICT:
    case J_NAMESPACE: dict_repr(s, b, v); break;
    case J_RANGE:
        nc_buf_adds(b, "range(");
        nc_jint_repr(b, v.range->start);
        nc_buf_adds(b, ", ");
        nc_jint_repr(b, v.range->stop);
        if (v.range->step != 1) {
            nc_buf_adds(b, ", ");
            nc_jint_repr(b, v.range->step);
        }
        nc_buf_addc(b, ')');
        break;
    case J_MACRO: nc_buf_printf(b, "<Macro '%.*s'>", (int)v.macro->name.n, v.macro->name.p); break;
    default: nc_buf_printf(b, "<%s object>", nc_jtype_name(v)); break;
    }
    s->depth--;
}

void nc_jprint(jstate *s, nc_buf *b, jvalue v)
{
    if (v.type == J_STRING)
        nc_buf_add(b, v.s.p ? v.s.p : "", v.s.n);
    else if (v.type != J_UNDEFINED)
        nc_jrepr(s, b, v);
}

nc_str nc_jtext(jstate *s, jvalue v)
{
    if (v.type == J_STRING)
        return v.s;
    nc_buf b = { 0 };
    nc_jprint(s, &b, v);
    v = nc_jbuf(s, &b);
    return v.type == J_STRING ? v.s : (nc_str){ "", 0 };
}

static bool equal_items(jstate *s, const jlist *a, const jlist *b)
{
    if (a->n != b->n)
        return false;
    for (int i = 0; i < a->n && !s->failed; i++)
        if (!nc_jequal(s, a->p[i], b->p[i]))
            return false;
    return true;
}

static bool equal_deep(jstate *s, jvalue a, jvalue b)
{
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case J_LIST:
    case J_TUPLE:
    case J_VIEW: return equal_items(s, a.list, b.list);
    case J_DICT:
        if (a.dict->n != b.dict->n)
            return false;
        for (int i = 0; i < a.dict->n && !s->failed; i++) {
            const jvalue *other = nc_jdict_get(s, b.dict, a.dict->p[i].key);
            if (!other || !nc_jequal(s, a.dict->p[i].value, *other))
                return false;
        }
        return true;
    case J_RANGE: return a.range->n == b.range->n && (!a.range->n || (a.range->start == b.range->start && a.range->step == b.range->step));
    default: return a.list == b.list;
    }
}

bool nc_jequal(jstate *s, jvalue a, jvalue b)
{
    if (jis_number(a) && jis_number(b))
        return a.type == J_FLOAT || b.type == J_FLOAT ? nc_jas_double(a) == nc_jas_double(b) : jas_int(a) == jas_int(b);
    if (a.type == J_UNDEFINED || a.type == J_NONE)
        return a.type == b.type;
    if ((a.type == J_STRING || a.type == J_BIG) && a.type == b.type)
        return nc_str_eq(a.s, b.s);
    if (!nc_jstep(s, 1) || !nc_jdeeper(s))
        return false;
    bool equal = equal_deep(s, a, b);
    s->depth--;
    return equal;
}

int nc_jcompare(jstate *s, jvalue a, jvalue b, const char *op)
{
    if (jis_number(a) && jis_number(b)) {
        if (a.type == J_FLOAT || b.type == J_FLOAT) {
            double x = nc_jas_double(a), y = nc_jas_double(b);
            return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
        }
        return (jas_int(a) > jas_int(b)) - (jas_int(a) < jas_int(b));
    }
    if (a.type == J_STRING && b.type == J_STRING) {
        size_t n = a.s.n < b.s.n ? a.s.n : b.s.n;
        int order = n ? memcmp(a.s.p, b.s.p, n) : 0;
        return order ? (order > 0) - (order < 0) : (a.s.n > b.s.n) - (a.s.n < b.s.n);
    }
    if ((a.type == J_LIST || a.type == J_TUPLE) && a.type == b.type) {
        if (!nc_jdeeper(s))
            return 0;
        int order = 0;
        for (int i = 0; i < a.list->n && i < b.list->n && !order && nc_jstep(s, 1); i++)
            order = nc_jequal(s, a.list->p[i], b.list->p[i]) ? 0 : nc_jcompare(s, a.list->p[i], b.list->p[i], op);
        s->depth--;
        return order ? order : (a.list->n > b.list->n) - (a.list->n < b.list->n);
    }
    if (a.type == J_UNDEFINED || b.type == J_UNDEFINED)
        nc_jundefined_fail(s, a.type == J_UNDEFINED ? a : b);
    else
        nc_jfail(s, "TypeError", "'%s' not supported between instances of '%s' and '%s'", op, nc_jtype_name(a), nc_jtype_name(b));
    return 0;
}

int64_t nc_jlength(jstate *s, jvalue v)
{
    switch (v.type) {
    case J_UNDEFINED: return 0;
    case J_STRING: nc_jstep(s, (int64_t)(v.s.n / 256)); return (int64_t)nc_utf8_count(v.s);
    case J_LIST:
    case J_TUPLE:
    case J_VIEW: return v.list->n;
    case J_DICT: return v.dict->n;
    case J_RANGE: return v.range->n;
    case J_LOOP: return v.loop->items->n;
    default: nc_jfail(s, "TypeError", "object of type '%s' has no len()", nc_jtype_name(v)); return 0;
    }
}

jlist *nc_jiterate(jstate *s, jvalue v)
{
    static jlist none = { 0 };
    jvalue out;
    switch (v.type) {
    case J_UNDEFINED: return &none;
    case J_LIST:
    case J_TUPLE:
    case J_VIEW: return v.list;
    case J_ITERATOR:
        if (v.list->used)
            return &none;
        v.list->used = true;
        return v.list;
    case J_DICT:
        out = nc_jlist_new(s, J_LIST, "list");
        for (int i = 0; i < v.dict->n && !s->failed; i++)
            nc_jlist_add(s, out.list, v.dict->p[i].key);
        return out.list;
    case J_STRING:
        out = nc_jlist_new(s, J_LIST, "list");
        for (size_t i = 0; i < v.s.n && !s->failed;) {
            uint32_t c;
            int length = nc_utf8_decode(v.s.p + i, v.s.n - i, &c);
            length = length > 0 ? length : 1;
            nc_jlist_add(s, out.list, jstr((nc_str){ v.s.p + i, (size_t)length }));
            i += (size_t)length;
        }
        return out.list;
    case J_RANGE:
        out = nc_jlist_new(s, J_LIST, "list");
        for (int64_t i = 0; i < v.range->n && !s->failed; i++)
            nc_jlist_add(s, out.list, jint(v.range->start + i * v.range->step));
        return out.list;
    case J_LOOP: return v.loop->items;
    default:
        nc_jfail(s, "TypeError", "'%s' object is not iterable", nc_jtype_name(v));
        return NULL;
    }
}

size_t nc_jchar_at(nc_str t, int64_t index)
{
    size_t i = 0;
    while (i < t.n && index > 0) {
        do
            i++;
        while (i < t.n && ((unsigned char)t.p[i] & 0xc0) == 0x80);
        index--;
    }
    return i;
}
