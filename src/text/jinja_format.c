/* jinja_format.c - Python's "%" formatting and str.format, changes of case, and json.dumps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

struct spec { char fill[5], align, sign, type; bool zero, alternate, comma; int width, precision; };

/* Puts text of `shown` characters into its field. */
static void field(nc_buf *out, const struct spec *f, nc_str text, char align)
{
    int64_t shown = (int64_t)nc_utf8_count(text), pad = f->width > shown ? f->width - shown : 0;
    int64_t before = align == '>' ? pad : align == '^' ? pad / 2 : 0;
    const char *fill = f->fill[0] ? f->fill : " ";
    for (int64_t i = 0; i < before; i++)
        nc_buf_adds(out, fill);
    nc_buf_add(out, text.p ? text.p : "", text.n);
    for (int64_t i = before; i < pad; i++)
        nc_buf_adds(out, fill);
}

static void digits(nc_buf *b, nc_int value, int base, bool upper)
{
    char text[130];
    int at = sizeof text;
    do {
        int digit = (int)(value % base);
        digit = digit < 0 ? -digit : digit;
        text[--at] = (char)(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
        value /= base;
    } while (value);
    nc_buf_add(b, text + at, sizeof text - (size_t)at);
}

static void grouped(nc_buf *b, nc_str plain)
{
    size_t whole = 0;
    while (whole < plain.n && plain.p[whole] >= '0' && plain.p[whole] <= '9')
        whole++;
    for (size_t i = 0; i < plain.n; i++) {
        if (i && i < whole && (whole - i) % 3 == 0)
            nc_buf_addc(b, ',');
        nc_buf_addc(b, plain.p[i]);
    }
}

static void number_text(nc_buf *b, const struct spec *f, jvalue v)
{
    char type = f->type, text[400];
    if (type == 'd' || type == 'x' || type == 'X' || type == 'o' || type == 'b' || type == 'i' || type == 'u') {
        digits(b, jas_int(v), type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10, type == 'X');
        return;
    }
    double value = fabs(nc_jas_double(v));
    int precision = f->precision < 0 ? 6 : f->precision > 100 ? 100 : f->precision;
    char format[8] = { '%', '.', '*', type == '%' ? 'f' : type, 0 };
    snprintf(text, sizeof text, format, precision, type == '%' ? value * 100 : value);
    nc_buf_adds(b, text);
    if (type == '%')
        nc_buf_addc(b, '%');
}

static void number(nc_buf *out, const struct spec *f, jvalue v)
{
    nc_buf plain = { 0 }, text = { 0 };
    bool negative = v.type == J_FLOAT ? signbit(v.f) : jas_int(v) < 0;
    number_text(&plain, f, v);
    if (negative || f->sign == '+' || f->sign == ' ')
        nc_buf_addc(&text, negative ? '-' : f->sign);
    if (f->alternate && strchr("xXob", f->type) && f->type)
        nc_buf_printf(&text, "0%c", f->type);
    size_t head = text.n;
    if (f->comma)
        grouped(&text, (nc_str){ plain.p, plain.n });
    else
        nc_buf_add(&text, plain.p, plain.n);
    if ((f->zero && !f->align) || f->align == '=') {
        nc_buf_add(out, text.p, head);
        struct spec inner = *f;
        inner.width -= (int)head;
        if (f->zero)
            memcpy(inner.fill, "0", 2);
        field(out, &inner, (nc_str){ text.p + head, text.n - head }, '>');
    } else {
        field(out, f, (nc_str){ text.p, text.n }, f->align ? f->align : '>');
    }
    nc_buf_free(&plain);
    nc_buf_free(&text);
}

static nc_str cut(nc_str t, int precision)
{
    return precision >= 0 ? (nc_str){ t.p, nc_jchar_at(t, precision) } : t;
}

static void percent_one(jstate *s, nc_buf *out, const struct spec *f, jvalue v)
{
    if (f->type == 's' || f->type == 'r') {
        nc_buf text = { 0 };
        if (f->type == 'r')
            nc_jrepr(s, &text, v);
        else
            nc_jprint(s, &text, v);
        field(out, f, cut((nc_str){ text.p ? text.p : "", text.n }, f->precision), f->align == '<' ? '<' : '>');
        nc_buf_free(&text);
    } else if (f->type == 'c') {
        field(out, f, v.type == J_STRING ? v.s : NC_STR("?"), '>');
    } else if (!jis_number(v) && strchr("diuoxX", f->type)) {
        nc_jfail(s, "TypeError", "%%%c format: a real number is required, not %s", f->type, nc_jtype_name(v));
    } else if (!jis_number(v)) {
        nc_jfail(s, "TypeError", "must be real number, not %s", nc_jtype_name(v));
    } else {
        if (strchr("diuoxX", f->type) && v.type == J_FLOAT)
            v = jint((nc_int)v.f);
        number(out, f, v);
    }
}

static size_t read_number(nc_str t, size_t i, int *out)
{
    int value = 0;
    while (i < t.n && t.p[i] >= '0' && t.p[i] <= '9')
        value = value < 100000 ? value * 10 + (t.p[i++] - '0') : (i++, value);
    *out = value;
    return i;
}

jvalue nc_jformat_percent(jstate *s, nc_str t, jvalue args)
{
    nc_buf out = { 0 };
    int at = 0, n = args.type == J_TUPLE ? args.list->n : 1;
    for (size_t i = 0; i < t.n && !s->failed;) {
        if (t.p[i] != '%') {
            nc_buf_addc(&out, t.p[i++]);
            continue;
        }
        struct spec f = { .precision = -1 };
        jvalue v = jundefined();
        bool named = false;
        i++;
        if (i < t.n && t.p[i] == '(') {
            size_t end = i;
            while (end < t.n && t.p[end] != ')')
                end++;
            named = true;
            const jvalue *known = args.type == J_DICT ? nc_jdict_get(s, args.dict, jstr((nc_str){ t.p + i + 1, end - i - 1 })) : NULL;
            if (!known)
                nc_jfail(s, args.type == J_DICT ? "KeyError" : "TypeError", args.type == J_DICT ? "'%.*s'" : "format requires a mapping", (int)(end - i - 1), t.p + i + 1);
            else
                v = *known;
            i = end + 1;
        }
        for (; i < t.n && t.p[i] && strchr("-+ #0", t.p[i]); i++) {
            f.align = t.p[i] == '-' ? '<' : f.align;
            f.sign = t.p[i] == '+' || t.p[i] == ' ' ? t.p[i] : f.sign;
            f.alternate |= t.p[i] == '#';
            f.zero |= t.p[i] == '0';
        }
        i = read_number(t, i, &f.width);
        if (i < t.n && t.p[i] == '.')
            i = read_number(t, i + 1, &f.precision);
        if (i >= t.n) {
            nc_jfail(s, "ValueError", "incomplete format");
            break;
        }
        f.type = t.p[i++];
        if (f.type == '%') {
            nc_buf_addc(&out, '%');
            continue;
        }
        if (!strchr("srcdiuoxXeEfFgG", f.type))
            nc_jfail(s, "ValueError", "unsupported format character '%c' (0x%x) at index %zu", f.type, (unsigned char)f.type, i - 1);
        else if (!named && at >= n)
            nc_jfail(s, "TypeError", "not enough arguments for format string");
        if (!named && !s->failed)
            v = args.type == J_TUPLE ? args.list->p[at++] : (at++, args);
        if (!s->failed)
            percent_one(s, &out, &f, v);
        if (out.n > s->limits.output)
            nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
    }
    if (at < n && args.type != J_DICT && !s->failed)
        nc_jfail(s, "TypeError", "not all arguments converted during string formatting");
    return nc_jbuf(s, &out);
}

static struct spec read_spec(nc_str t)
{
    struct spec f = { .precision = -1 };
    size_t i = 0, first = nc_jchar_at(t, 1);
    if (first < t.n && strchr("<>=^", t.p[first]) && first <= 4) {
        memcpy(f.fill, t.p, first);
        f.align = t.p[first];
        i = first + 1;
    } else if (t.n && t.p[0] && strchr("<>=^", t.p[0])) {
        f.align = t.p[i++];
    }
    if (i < t.n && t.p[i] && strchr("+- ", t.p[i]))
        f.sign = t.p[i++];
    if (i < t.n && t.p[i] == '#')
        f.alternate = t.p[i++] == '#';
    if (i < t.n && t.p[i] == '0')
        f.zero = t.p[i++] == '0';
    i = read_number(t, i, &f.width);
    if (i < t.n && t.p[i] == ',')
        f.comma = t.p[i++] == ',';
    if (i < t.n && t.p[i] == '.')
        i = read_number(t, i + 1, &f.precision);
    f.type = i < t.n ? t.p[i] : 0;
    return f;
}

static void braces_one(jstate *s, nc_buf *out, nc_str spec, jvalue v)
{
    struct spec f = read_spec(spec);
    nc_buf text = { 0 };
    if (jis_number(v) && v.type != J_BOOL && spec.n) {
        bool plain_float = v.type == J_FLOAT && !f.type && f.precision < 0;
        if (!plain_float) {
            f.type = f.type ? f.type : v.type == J_FLOAT ? 'g' : 'd';
            if (strchr("dxXob", f.type) && v.type == J_FLOAT)
                nc_jfail(s, "ValueError", "Unknown format code '%c' for object of type 'float'", f.type);
            else if (!strchr("dxXobeEfFgG%", f.type))
                nc_jfail(s, "ValueError", "Unknown format code '%c' for object of type '%s'", f.type, nc_jtype_name(v));
            else
                number(out, &f, v);
            return;
        }
    } else if (f.type && f.type != 's' && v.type == J_STRING) {
        nc_jfail(s, "ValueError", "Unknown format code '%c' for object of type 'str'", f.type);
        return;
    }
    nc_jprint(s, &text, v);
    field(out, &f, cut((nc_str){ text.p ? text.p : "", text.n }, v.type == J_STRING ? f.precision : -1), f.align ? f.align : jis_number(v) ? '>' : '<');
    nc_buf_free(&text);
}

/* The value a replacement field names: number or keyword, then .attribute and [item]. */
static jvalue braces_value(jstate *s, nc_str name, const jcall *c, int *automatic)
{
    size_t end = 0;
    while (end < name.n && name.p[end] != '.' && name.p[end] != '[')
        end++;
    nc_str head = { name.p, end };
    int index = 0;
    bool numeric = head.n > 0 && read_number(head, 0, &index) == head.n;
    if (!head.n)
        index = (*automatic)++;
    const jvalue *v = nc_jarg(c, !head.n || numeric ? index : INT32_MAX, numeric || !head.n ? NULL : nc_arena_strndup(s->arena, head.p, head.n));
    if (!v) {
        if (!head.n || numeric)
            return nc_jfail(s, "IndexError", "Replacement index %d out of range for positional args tuple", index);
        return nc_jfail(s, "KeyError", "'%.*s'", (int)head.n, head.p);
    }
    jvalue out = *v;
    while (end < name.n && !s->failed) {
        size_t begin = end + 1;
        bool item = name.p[end] == '[';
        end = begin;
        while (end < name.n && (item ? name.p[end] != ']' : name.p[end] != '.' && name.p[end] != '['))
            end++;
        nc_str part = { name.p + begin, end - begin };
        int number_key;
        if (item && part.n && read_number(part, 0, &number_key) == part.n)
            out = nc_jgetitem(s, out, jint(number_key));
        else
            out = item ? nc_jgetitem(s, out, jstr(part)) : nc_jgetattr(s, out, part);
        end += item;
    }
    return out;
}

jvalue nc_jformat_braces(jstate *s, nc_str t, const jcall *c)
{
    nc_buf out = { 0 };
    int automatic = 0;
    for (size_t i = 0; i < t.n && !s->failed; i++) {
        if ((t.p[i] == '{' || t.p[i] == '}') && i + 1 < t.n && t.p[i + 1] == t.p[i]) {
            nc_buf_addc(&out, t.p[i++]);
            continue;
        }
        if (t.p[i] == '}') {
            nc_jfail(s, "ValueError", "Single '}' encountered in format string");
            break;
        }
        if (t.p[i] != '{') {
            nc_buf_addc(&out, t.p[i]);
            continue;
        }
        const char *close = memchr(t.p + i, '}', t.n - i);
        if (!close) {
            nc_jfail(s, "ValueError", "expected '}' before end of string");
            break;
        }
        nc_str inner = { t.p + i + 1, (size_t)(close - t.p) - i - 1 };
        const char *colon = memchr(inner.p, ':', inner.n);
        nc_str spec = colon ? (nc_str){ colon + 1, inner.n - (size_t)(colon - inner.p) - 1 } : (nc_str){ "", 0 };
        nc_str name = { inner.p, colon ? (size_t)(colon - inner.p) : inner.n };
        bool repr = name.n >= 2 && name.p[name.n - 2] == '!';
        char conversion = repr ? name.p[name.n - 1] : 0;
        name.n -= repr ? 2 : 0;
        jvalue v = braces_value(s, name, c, &automatic);
        if (conversion == 'r' && !s->failed) {
            nc_buf text = { 0 };
            nc_jrepr(s, &text, v);
            v = nc_jbuf(s, &text);
        }
        if (!s->failed)
            braces_one(s, &out, spec, v);
        if (out.n > s->limits.output)
            nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
        i = (size_t)(close - t.p);
    }
    return nc_jbuf(s, &out);
}

jvalue nc_jcase(jstate *s, nc_str t, int mode)
{
    nc_buf out = { 0 };
    bool start = true;
    nc_buf_reserve(&out, t.n + 1);
    for (size_t i = 0; i < t.n;) {
        uint32_t c = 0, mapped[3];
        int length = nc_utf8_decode(t.p + i, t.n - i, &c), n;
        length = length > 0 ? length : 1;
        bool letter = nc_char_is_alphabetic(c);
        if (mode == 'u' || (mode == 's' && nc_char_is_lower(c)))
            n = nc_char_to_upper(c, mapped);
        else if (start && (mode == 't' || mode == 'c' || mode == 'w'))
            n = nc_char_to_title(c, mapped);
        else
            n = nc_char_to_lower(c, mapped);
        for (int k = 0; k < n; k++) {
            char bytes[4];
            nc_buf_add(&out, bytes, (size_t)nc_utf8_encode(mapped[k], bytes));
        }
        if (mode == 't')
            start = !letter;
        else if (mode == 'w')       /* the filter's words begin behind -, white space and opening brackets */
            start = c == '-' || nc_char_is_space(c) || c == '(' || c == '{' || c == '[' || c == '<';
        else
            start = false;
        i += (size_t)length;
    }
    return nc_jbuf(s, &out);
}

struct dumps { jstate *s; nc_buf out; bool ascii, sort; int indent; nc_str indent_text, item, key; };

static void dump_string(struct dumps *d, nc_str t)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    nc_buf_addc(&d->out, '"');
    for (size_t i = 0; i < t.n;) {
        uint32_t c = 0xfffd;
        int length = nc_utf8_decode(t.p + i, t.n - i, &c);
        const char *hit = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
        length = length > 0 ? length : 1;
        if (hit)
            nc_buf_printf(&d->out, "\\%c", letter[hit - plain]);
        else if (c < 0x20 || (d->ascii && c >= 0x80 && c < 0x10000))
            nc_buf_printf(&d->out, "\\u%04x", c);
        else if (d->ascii && c >= 0x10000)
            nc_buf_printf(&d->out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
        else
            nc_buf_add(&d->out, t.p + i, (size_t)length);
        i += (size_t)length;
    }
    nc_buf_addc(&d->out, '"');
}

static void dump_line(struct dumps *d, int level)
{
    if (d->indent < 0)
        return;
    nc_buf_addc(&d->out, '\n');
    for (int i = 0; i < level; i++)
        nc_buf_add(&d->out, d->indent_text.p, d->indent_text.n);
}

static void dump(struct dumps *d, jvalue v, int level);

static void dump_key(struct dumps *d, jvalue key)
{
    if (key.type == J_STRING) {
        dump_string(d, key.s);
    } else if (key.type == J_NONE || jis_number(key) || key.type == J_BIG) {
        nc_buf_addc(&d->out, '"');
        dump(d, key, 0);
        nc_buf_addc(&d->out, '"');
    } else {
        nc_jfail(d->s, "TypeError", "keys must be str, int, float, bool or None, not %s", nc_jtype_name(key));
    }
}

static void dump_dict(struct dumps *d, jvalue v, int level)
{
    jpair *p = v.dict->p;
    int n = v.dict->n;
    if (d->sort && n) {
        p = nc_arena_copy(d->s->arena, p, (size_t)n * sizeof *p);
        for (int i = 1; i < n && nc_jstep(d->s, 1); i++) {
            jpair x = p[i];
            int k = i;
            while (k > 0 && nc_jstep(d->s, 1) && nc_jcompare(d->s, x.key, p[k - 1].key, "<") < 0) {
                p[k] = p[k - 1];
                k--;
            }
            p[k] = x;
        }
    }
    nc_buf_addc(&d->out, '{');
    for (int i = 0; i < n && !d->s->failed; i++) {
        if (i)
            nc_buf_add(&d->out, d->item.p, d->item.n);
        dump_line(d, level + 1);
        dump_key(d, p[i].key);
        nc_buf_add(&d->out, d->key.p, d->key.n);
        dump(d, p[i].value, level + 1);
    }
    if (n)
        dump_line(d, level);
    nc_buf_addc(&d->out, '}');
}

static void dump(struct dumps *d, jvalue v, int level)
{
    if (!nc_jstep(d->s, 1) || !nc_jdeeper(d->s))
        return;
    if (d->out.n > d->s->limits.output)
        nc_jfail(d->s, "LimitError", "a text is longer than %zu bytes", d->s->limits.output);
    switch (v.type) {
    case J_NONE: nc_buf_adds(&d->out, "null"); break;
    case J_BOOL: nc_buf_adds(&d->out, v.b ? "true" : "false"); break;
    case J_INT: nc_jint_repr(&d->out, v.i); break;
    case J_BIG: nc_buf_add(&d->out, v.s.p, v.s.n); break;
    case J_FLOAT:
        if (isnan(v.f) || isinf(v.f))
            nc_buf_adds(&d->out, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
        else
            nc_jfloat_repr(&d->out, v.f);
        break;
    case J_STRING: dump_string(d, v.s); break;
    case J_LIST:
    case J_TUPLE:
        nc_buf_addc(&d->out, '[');
        for (int i = 0; i < v.list->n && !d->s->failed; i++) {
            if (i)
                nc_buf_add(&d->out, d->item.p, d->item.n);
            dump_line(d, level + 1);
            dump(d, v.list->p[i], level + 1);
        }
        if (v.list->n)
            dump_line(d, level);
        nc_buf_addc(&d->out, ']');
        break;
    case J_DICT: dump_dict(d, v, level); break;
    default: nc_jfail(d->s, "TypeError", "Object of type %s is not JSON serializable", nc_jtype_name(v)); break;
    }
    d->s->depth--;
}

jvalue nc_jfilter_tojson(jstate *s, jvalue v, const jcall *c)
{
    struct dumps d = { .s = s, .indent = -1, .item = NC_STR(", "), .key = NC_STR(": ") };
    const jvalue *indent = nc_jarg(c, 1, "indent"), *separators = nc_jarg(c, 2, "separators");
    d.ascii = nc_jarg_bool(c, 0, "ensure_ascii", false);
    d.sort = nc_jarg_bool(c, 3, "sort_keys", false);
    if (indent && indent->type == J_STRING) {
        d.indent = 1;
        d.indent_text = indent->s;
        d.item = NC_STR(",");
    } else if (indent && indent->type != J_NONE) {
        int64_t n = nc_jarg_int(s, c, 1, "indent", 0);
        d.indent = n < 0 ? 0 : n > 32 ? 32 : (int)n;
        d.indent_text = (nc_str){ "                                ", (size_t)d.indent };
        d.item = NC_STR(",");
    }
    if (separators && (separators->type == J_LIST || separators->type == J_TUPLE) && separators->list->n == 2) {
        d.item = nc_jtext(s, separators->list->p[0]);
        d.key = nc_jtext(s, separators->list->p[1]);
    }
    dump(&d, v, 0);
    return nc_jbuf(s, &d.out);
}
