/* jinja_filters.c - filters on single values and texts (filters.py of Jinja 3.1); those on sequences are in jinja_filters_list.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

static jvalue text_method(jstate *s, jvalue v, const char *name, const jcall *c)
{
    return nc_jmethod_call(s, v.type == J_STRING ? v : jstr(nc_jtext(s, v)), nc_str_of(name), c);
}

static jvalue f_trim(jstate *s, jvalue v, const jcall *c) { return text_method(s, v, "strip", c); }
static jvalue f_upper(jstate *s, jvalue v, const jcall *c) { return text_method(s, v, "upper", c); }
static jvalue f_lower(jstate *s, jvalue v, const jcall *c) { return text_method(s, v, "lower", c); }
static jvalue f_capitalize(jstate *s, jvalue v, const jcall *c) { return text_method(s, v, "capitalize", c); }
static jvalue f_title(jstate *s, jvalue v, const jcall *c) { (void)c; return nc_jcase(s, nc_jtext(s, v), 'w'); }
static jvalue f_string(jstate *s, jvalue v, const jcall *c) { (void)c; return v.type == J_STRING ? v : jstr(nc_jtext(s, v)); }

static jvalue f_safe(jstate *s, jvalue v, const jcall *c)
{
    (void)c;
    v = jstr(nc_jtext(s, v));
    v.markup = true;
    return v;
}

static jvalue f_center(jstate *s, jvalue v, const jcall *c)
{
    jvalue width = jint(nc_jarg_int(s, c, 0, "width", 80));
    jcall one = { &width, 1, NULL, 0 };
    return text_method(s, v, "center", &one);
}

static jvalue f_replace(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *old = nc_jarg(c, 0, "old"), *new = nc_jarg(c, 1, "new"), *count = nc_jarg(c, 2, "count");
    if (!old || !new)
        return nc_jfail(s, "TypeError", "do_replace() missing a required argument: 'old' or 'new'");
    jvalue args[3] = { jstr(nc_jtext(s, *old)), jstr(nc_jtext(s, *new)), count ? *count : jnone() };
    jcall call = { args, count && count->type != J_NONE ? 3 : 2, NULL, 0 };
    return text_method(s, v, "replace", &call);
}

static jvalue f_default(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *other = nc_jarg(c, 0, "default_value");
    (void)s;
    bool missing = v.type == J_UNDEFINED || (nc_jarg_bool(c, 1, "boolean", false) && !nc_jtruth(v));
    return !missing ? v : other ? *other : jstr(NC_STR(""));
}

static jvalue f_escape(jstate *s, jvalue v, const jcall *c) { (void)c; return nc_jescaped(s, v); }

static jvalue f_forceescape(jstate *s, jvalue v, const jcall *c)
{
    (void)c;
    return nc_jescaped(s, jstr(nc_jtext(s, v)));
}

static bool parse_number(nc_str t, double *out)
{
    char text[128];
    size_t n = 0;
    while (t.n && nc_char_is_space((unsigned char)t.p[0])) {
        t.p++;
        t.n--;
    }
    while (t.n && nc_char_is_space((unsigned char)t.p[t.n - 1]))
        t.n--;
    if (!t.n || t.n >= sizeof text)
        return false;
    for (size_t i = 0; i < t.n; i++)
        if (t.p[i] != '_')
            text[n++] = t.p[i];
    text[n] = 0;
    return nc_parse_double(text, out);
}

static jvalue f_int(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *given = nc_jarg(c, 0, "default");
    jvalue other = given ? *given : jint(0);
    int64_t base = nc_jarg_int(s, c, 1, "base", 10);
    double d;
    if (jis_integer(v))
        return jint(jas_int(v));
    if (v.type == J_FLOAT)
        return isnan(v.f) || fabs(v.f) > 1e30 ? other : jint((nc_int)v.f);
    if (v.type == J_UNDEFINED)
        return nc_jundefined_fail(s, v);
    if (v.type != J_STRING)
        return other;
    nc_int whole = 0;
    nc_str t = v.s;
    char *end, text[64];
    if (base != 10 && base >= 0 && base <= 36 && t.n < sizeof text) {
        memcpy(text, t.p, t.n);
        text[t.n] = 0;
        bool marked = t.n > 2 && text[0] == '0' && ((base == 2 && (text[1] | 32) == 'b') || (base == 8 && (text[1] | 32) == 'o'));
        whole = strtoll(text + (marked ? 2 : 0), &end, (int)base);
        return *end || !t.n ? other : jint(whole);
    }
    bool digits = t.n > 0;
    for (size_t i = t.n && (t.p[0] == '-' || t.p[0] == '+') && t.n > 1; i < t.n && digits; i++)
        digits = t.p[i] >= '0' && t.p[i] <= '9' && !__builtin_mul_overflow(whole, (nc_int)10, &whole) && !__builtin_add_overflow(whole, (nc_int)(t.p[i] - '0'), &whole);
    if (digits)
        return jint(t.p[0] == '-' ? -whole : whole);
    return parse_number(t, &d) && fabs(d) <= 1e30 ? jint((nc_int)d) : other;
}

static jvalue f_float(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *given = nc_jarg(c, 0, "default");
    double d;
    if (v.type == J_UNDEFINED)
        return nc_jundefined_fail(s, v);
    if (jis_number(v))
        return jfloat(nc_jas_double(v));
    if (v.type == J_STRING && parse_number(v.s, &d))
        return jfloat(d);
    return given ? *given : jfloat(0);
}

static jvalue f_round(jstate *s, jvalue v, const jcall *c)
{
    int64_t precision = nc_jarg_int(s, c, 0, "precision", 0);
    nc_str method = nc_jarg_text(s, c, 1, "method", "common");
    char text[400];
    if (v.type == J_UNDEFINED)
        return nc_jundefined_fail(s, v);
    if (!jis_number(v))
        return nc_jfail(s, "TypeError", "type %s doesn't define __round__ method", nc_jtype_name(v));
    if (precision < -300 || precision > 300)
        return nc_jfail(s, "OverflowError", "round: a precision of %lld", (long long)precision);
    double d = nc_jas_double(v), scale = pow(10, (double)precision);
    if (nc_str_eqz(method, "ceil"))
        return jfloat(ceil(d * scale) / scale);
    if (nc_str_eqz(method, "floor"))
        return jfloat(floor(d * scale) / scale);
    if (!nc_str_eqz(method, "common"))
        return nc_jfail(s, "FilterArgumentError", "method must be common, ceil or floor");
    if (jis_integer(v) && precision >= 0)
        return jint(jas_int(v));
    if (precision < 0)
        return jis_integer(v) ? jint((nc_int)(rint(d * scale) / scale)) : jfloat(rint(d * scale) / scale);
    snprintf(text, sizeof text, "%.*f", (int)(precision > 60 ? 60 : precision), d);
    return jfloat(strtod(text, NULL));
}

static jvalue f_abs(jstate *s, jvalue v, const jcall *c)
{
    (void)c;
    if (v.type == J_FLOAT)
        return jfloat(fabs(v.f));
    if (jis_integer(v))
        return jas_int(v) < 0 ? nc_junary(s, OP_NEG, v) : jint(jas_int(v));
    if (v.type == J_UNDEFINED)
        return nc_jundefined_fail(s, v);
    return nc_jfail(s, "TypeError", "bad operand type for abs(): '%s'", nc_jtype_name(v));
}

static jvalue f_format(jstate *s, jvalue v, const jcall *c)
{
    jvalue args = nc_jlist_new(s, J_TUPLE, "tuple");
    for (int i = 0; i < c->n; i++)
        nc_jlist_add(s, args.list, c->args[i]);
    if (!c->n && c->named_n) {
        args = nc_jdict_new(s);
        for (int i = 0; i < c->named_n; i++)
            nc_jdict_set(s, args.dict, c->named[i].key, c->named[i].value);
    }
    return nc_jformat_percent(s, nc_jtext(s, v), args);
}

/* indent: lines but the first (unless first) and blank ones (unless blank) move right. */
static jvalue f_indent(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *width = nc_jarg(c, 0, "width");
    bool first = nc_jarg_bool(c, 1, "first", false), blank = nc_jarg_bool(c, 2, "blank", false);
    nc_buf by = { 0 }, out = { 0 };
    nc_str t = nc_jtext(s, v);
    if (width && width->type == J_STRING) {
        nc_buf_add(&by, width->s.p, width->s.n);
    } else {
        int64_t n = nc_jarg_int(s, c, 0, "width", 4);
        for (int64_t i = 0; i < n && i < 10000; i++)
            nc_buf_addc(&by, ' ');
    }
    const char *pad = by.p ? by.p : "";
    if (first)
        nc_buf_add(&out, pad, by.n);
    for (size_t i = 0; i < t.n; i++) {
        nc_buf_addc(&out, t.p[i]);
        if (t.p[i] == '\n' && (blank || (i + 1 < t.n && t.p[i + 1] != '\n')))
            nc_buf_add(&out, pad, by.n);
        if (out.n > s->limits.output)
            break;
    }
    nc_buf_free(&by);
    return nc_jbuf(s, &out);
}

static jvalue f_truncate(jstate *s, jvalue v, const jcall *c)
{
    nc_str t = nc_jtext(s, v), end = nc_jarg_text(s, c, 2, "end", "...");
    int64_t length = nc_jarg_int(s, c, 0, "length", 255), leeway = nc_jarg_int(s, c, 3, "leeway", 5), n = (int64_t)nc_utf8_count(t);
    if (n <= length + leeway)
        return jstr(t);
    int64_t keep = length - (int64_t)nc_utf8_count(end);
    if (keep < 0)
        return nc_jfail(s, "AssertionError", "expected length >= %zu, got %lld", nc_utf8_count(end), (long long)length);
    nc_str head = { t.p, nc_jchar_at(t, keep) };
    if (!nc_jarg_bool(c, 1, "killwords", false)) {
        size_t cut = head.n;
        while (cut > 0 && head.p[cut - 1] != ' ')
            cut--;
        if (cut)
            head.n = cut - 1;
    }
    nc_buf out = { 0 };
    nc_buf_add(&out, head.p, head.n);
    nc_buf_add(&out, end.p, end.n);
    return nc_jbuf(s, &out);
}

static jvalue f_wordcount(jstate *s, jvalue v, const jcall *c)
{
    nc_str t = nc_jtext(s, v);
    bool inside = false;
    nc_int words = 0;
    (void)c;
    for (size_t i = 0; i < t.n;) {
        uint32_t code = 0;
        int length = nc_utf8_decode(t.p + i, t.n - i, &code);
        bool word = nc_char_is_word(code);
        words += word && !inside;
        inside = word;
        i += (size_t)(length > 0 ? length : 1);
    }
    return jint(words);
}

/* Greedy filling of each line by words, as textwrap without hyphens; long words are broken unless told otherwise. */
static jvalue f_wordwrap(jstate *s, jvalue v, const jcall *c)
{
    nc_str t = nc_jtext(s, v), wrap = nc_jarg_text(s, c, 2, "wrapstring", "\n");
    int64_t width = nc_jarg_int(s, c, 0, "width", 79), used = 0;
    bool broken = nc_jarg_bool(c, 1, "break_long_words", true);
    nc_buf out = { 0 };
    if (width < 1)
        return nc_jfail(s, "ValueError", "invalid width %lld (must be > 0)", (long long)width);
    for (size_t i = 0; i < t.n && nc_jstep(s, 1);) {
        if (t.p[i] == '\n') {
            nc_buf_add(&out, wrap.p, wrap.n);
            used = 0;
            i++;
            continue;
        }
        size_t end = i;
        bool space = t.p[i] == ' ';
        while (end < t.n && t.p[end] != '\n' && (t.p[end] == ' ') == space)
            end++;
        nc_str word = { t.p + i, end - i };
        int64_t n = (int64_t)nc_utf8_count(word);
        if (space && (used + n >= width || end == t.n || t.p[end] == '\n')) {
            i = end;
            used = end < t.n && t.p[end] != '\n' && used ? width : used;
            continue;
        }
        if (!space && used && used + n > width) {
            while (out.n && out.p[out.n - 1] == ' ')
                out.n--;
            nc_buf_add(&out, wrap.p, wrap.n);
            used = 0;
        }
        while (!space && broken && n > width) {
            size_t cut = nc_jchar_at(word, width);
            nc_buf_add(&out, word.p, cut);
            nc_buf_add(&out, wrap.p, wrap.n);
            word = (nc_str){ word.p + cut, word.n - cut };
            n -= width;
        }
        nc_buf_add(&out, word.p, word.n);
        used += n;
        i = end;
    }
    return nc_jbuf(s, &out);
}

static void url_quote(nc_buf *out, nc_str t, bool slash)
{
    for (size_t i = 0; i < t.n; i++) {
        unsigned char x = (unsigned char)t.p[i];
        bool plain = (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9') || (x && strchr("_.-~", x)) || (slash && x == '/');
        if (plain)
            nc_buf_addc(out, (char)x);
        else
            nc_buf_printf(out, "%%%02X", x);
    }
}

static jvalue f_urlencode(jstate *s, jvalue v, const jcall *c)
{
    nc_buf out = { 0 };
    (void)c;
    if (v.type != J_DICT) {
        url_quote(&out, nc_jtext(s, v), true);
        return nc_jbuf(s, &out);
    }
    for (int i = 0; i < v.dict->n; i++) {
        if (i)
            nc_buf_addc(&out, '&');
        url_quote(&out, nc_jtext(s, v.dict->p[i].key), false);
        nc_buf_addc(&out, '=');
        url_quote(&out, nc_jtext(s, v.dict->p[i].value), false);
    }
    return nc_jbuf(s, &out);
}

/* Tags and comments go, runs of white space become one blank, the five entities are undone. */
static jvalue f_striptags(jstate *s, jvalue v, const jcall *c)
{
    static const char *const entity[][2] = { { "&lt;", "<" }, { "&gt;", ">" }, { "&#39;", "'" }, { "&#34;", "\"" }, { "&quot;", "\"" }, { "&amp;", "&" } };
    nc_str t = nc_jtext(s, v);
    nc_buf out = { 0 };
    bool blank = false;
    (void)c;
    for (size_t i = 0; i < t.n;) {
        if (t.p[i] == '<') {
            const char *close = t.n - i >= 4 && !memcmp(t.p + i, "<!--", 4) ? memmem(t.p + i, t.n - i, "-->", 3) : memchr(t.p + i, '>', t.n - i);
            if (close) {
                i = (size_t)(close - t.p) + (close[0] == '-' ? 3 : 1);
                continue;
            }
        }
        if (nc_char_is_space((unsigned char)t.p[i])) {
            blank = true;
            i++;
            continue;
        }
        if (blank && out.n)
            nc_buf_addc(&out, ' ');
        blank = false;
        int hit = -1;
        for (int k = 0; k < NC_COUNT(entity) && hit < 0; k++)
            if (strlen(entity[k][0]) <= t.n - i && !memcmp(t.p + i, entity[k][0], strlen(entity[k][0])))
                hit = k;
        if (hit >= 0)
            nc_buf_adds(&out, entity[hit][1]);
        else
            nc_buf_addc(&out, t.p[i]);
        i += hit >= 0 ? strlen(entity[hit][0]) : 1;
    }
    return nc_jbuf(s, &out);
}

static jvalue f_filesizeformat(jstate *s, jvalue v, const jcall *c)
{
    static const char *const decimal[] = { "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB" };
    static const char *const binary[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB" };
    bool is_binary = nc_jarg_bool(c, 0, "binary", false);
    double bytes = nc_jas_double(f_float(s, v, &(jcall){ 0 })), base = is_binary ? 1024 : 1000, unit = base;
    nc_buf out = { 0 };
    if (bytes == 1)
        nc_buf_adds(&out, "1 Byte");
    else if (bytes < base)
        nc_buf_printf(&out, "%.0f Bytes", trunc(bytes));
    else {
        int i = 0;
        while (i < 7 && bytes >= unit * base) {
            unit *= base;
            i++;
        }
        nc_buf_printf(&out, "%.1f %s", bytes / unit, is_binary ? binary[i] : decimal[i]);
    }
    return nc_jbuf(s, &out);
}

static jvalue f_pprint(jstate *s, jvalue v, const jcall *c)
{
    nc_buf out = { 0 };
    (void)c;
    nc_jrepr(s, &out, v);
    return nc_jbuf(s, &out);
}

static jvalue f_attr(jstate *s, jvalue v, const jcall *c)
{
    nc_str name = nc_jarg_text(s, c, 0, "name", "");
    if (v.type == J_DICT && !nc_jmethod_exists(v, name))
        return nc_jmissing_of(s, "UndefinedError", "'dict object' has no attribute '%.*s'", (int)(name.n < 200 ? name.n : 200), name.p);
    return nc_jgetattr(s, v, name);
}

jfilter_fn *nc_jfilter_find(nc_str name)
{
    static const struct { const char *name; jfilter_fn *run; } table[] = {
        { "trim", f_trim }, { "upper", f_upper }, { "lower", f_lower }, { "capitalize", f_capitalize }, { "title", f_title }, { "string", f_string },
        { "safe", f_safe }, { "center", f_center }, { "replace", f_replace }, { "default", f_default }, { "d", f_default }, { "escape", f_escape },
        { "e", f_escape }, { "forceescape", f_forceescape }, { "int", f_int }, { "float", f_float }, { "round", f_round }, { "abs", f_abs },
        { "format", f_format }, { "indent", f_indent }, { "truncate", f_truncate }, { "wordcount", f_wordcount }, { "wordwrap", f_wordwrap },
        { "urlencode", f_urlencode }, { "striptags", f_striptags }, { "filesizeformat", f_filesizeformat }, { "pprint", f_pprint },
        { "attr", f_attr }, { "tojson", nc_jfilter_tojson },
    };
    for (int i = 0; i < NC_COUNT(table); i++)
        if (nc_str_eqz(name, table[i].name))
            return table[i].run;
    return nc_jfilter_find_list(name);
}
