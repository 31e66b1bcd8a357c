/* yaml_scalar.c - plain scalars by YAML 1.1's rules as PyYAML 6 reads them (resolver.py, constructor.py): null, yes/no/on/off, integers
 * with underscores in base 2, 8, 10, 16 and 60, floats with underscores, .inf, .nan. One addition: a number may have an exponent without a
 * point or without a sign (1e-5, 1.0e5), or a sign before the point (-.5), which PyYAML takes for text and people who write learning rates do not. Dates stay text.
 * Numbers are respelled as JSON has them.
 */
#include "base/yaml_scalar.h"

#include <math.h>
#include <string.h>

#include "base/number.h"

static bool among(nc_str s, const char *const *words)
{
    for (; *words; words++)
        if (nc_str_eqz(s, *words))
            return true;
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void set_number(nc_arena *a, nc_json *v, const char *text)
{
    v->type = NC_JSON_NUMBER;
    v->text = nc_str_of(nc_arena_strdup(a, text));
}

/* All characters of s after `skip` are digits of the base or underscores, with at least one character. */
static bool digits_of_base(const char *s, int base)
{
    if (!*s)
        return false;
    for (; *s; s++) {
        int d = is_digit(*s) ? *s - '0' : (*s | 32) >= 'a' && (*s | 32) <= 'f' ? (*s | 32) - 'a' + 10 : 99;
        if (*s != '_' && d >= base)
            return false;
    }
    return true;
}

/* Value of such digits; false on overflow or without any digit. */
static bool value_of_base(const char *s, int base, int64_t *out)
{
    int64_t v = 0;
    int digits = 0;
    for (; *s; s++) {
        if (*s == '_')
            continue;
        int d = is_digit(*s) ? *s - '0' : (*s | 32) - 'a' + 10;
        if (__builtin_mul_overflow(v, (int64_t)base, &v) || __builtin_add_overflow(v, (int64_t)d, &v))
            return false;
        digits++;
    }
    *out = v;
    return digits > 0;
}

/* 1:30:00 in base 60: the first group begins with 1-9 (or any digit before a fraction), later groups are 0-59. */
static bool sexagesimal(const char *s, bool with_fraction, double *out)
{
    double v = 0, group = 0;
    int digits = 0, groups = 0;
    if (!is_digit(*s) || (!with_fraction && *s == '0'))
        return false;
    for (;; s++) {
        if (is_digit(*s) || (*s == '_' && groups == 0)) {
            if (*s != '_')
                group = group * 10 + (*s - '0');
            digits++;
            if (groups && (digits > 2 || group > 59))
                return false;
            continue;
        }
        v = v * 60 + group;
        if (groups && digits == 0)
            return false;
        group = digits = 0;
        if (*s != ':')
            break;
        groups++;
    }
    if (with_fraction && *s == '.') {
        double unit = 0.1;
        for (s++; is_digit(*s) || *s == '_'; s++)
            if (*s != '_') {
                v += unit * (*s - '0');
                unit /= 10;
            }
    } else if (with_fraction) {
        return false;
    }
    *out = v;
    return groups > 0 && *s == 0;
}

/* Integers. Returns 1 when s is one, 0 when it is none, -1 when it is one that does not fit. */
static int resolve_int(nc_arena *a, const char *s, nc_json *v)
{
    const bool minus = *s == '-';
    const char *p = s + (*s == '-' || *s == '+');
    int base = 0;
    int64_t value;
    double big;
    if (p[0] == '0' && p[1] == 'b' && digits_of_base(p + 2, 2))
        base = 2, p += 2;
    else if (p[0] == '0' && p[1] == 'x' && digits_of_base(p + 2, 16))
        base = 16, p += 2;
    else if (p[0] == '0' && digits_of_base(p + 1, 8))
        base = 8, p += 1;
    if (base) {
        if (!value_of_base(p, base, &value))
            return -1;
        set_number(a, v, nc_arena_printf(a, "%s%lld", minus && value ? "-" : "", (long long)value));
        return 1;
    }
    if (is_digit(*p) && (*p != '0' || !p[1]) && digits_of_base(p, 10)) {
        char *text = nc_arena_alloc(a, strlen(p) + 2), *t = text;
        if (minus)
            *t++ = '-';
        for (; *p; p++)
            if (*p != '_')
                *t++ = *p;
        *t = 0;
        set_number(a, v, strcmp(text, "-0") ? text : "0");
        return 1;
    }
    if (sexagesimal(p, false, &big)) {
        if (big >= 0x1p53)
            return -1;
        set_number(a, v, nc_arena_printf(a, "%s%lld", minus ? "-" : "", (long long)big));
        return 1;
    }
    return 0;
}

/* digits[_] [. digits[_]] [e[sign]digits] with a digit before or after the point, and a point or an exponent. */
static bool resolve_float(nc_arena *a, const char *s, nc_json *v)
{
    static const char *const infinite[] = { ".inf", ".Inf", ".INF", NULL }, *const nan[] = { ".nan", ".NaN", ".NAN", NULL };
    const bool minus = *s == '-';
    const char *p = s + (*s == '-' || *s == '+');
    char text[32];
    double value;
    if (among(nc_str_of(p), infinite)) {
        set_number(a, v, minus ? "-Infinity" : "Infinity");
        return true;
    }
    if (among(nc_str_of(s), nan)) {
        set_number(a, v, "NaN");
        return true;
    }
    if (sexagesimal(p, true, &value)) {
        set_number(a, v, nc_format_double(minus ? -value : value, text));
        return true;
    }
    nc_buf clean = { 0 };
    bool point = false, power = false, lead = is_digit(*p), ok = lead || (*p == '.' && is_digit(p[1]));
    for (const char *q = s + (*s == '+'); ok && *q; q++) {
        if (*q == '.' && !point && !power)
            point = true;
        else if ((*q | 32) == 'e' && !power && q > p) {
            power = true;
            ok = is_digit(q[1]) || ((q[1] == '-' || q[1] == '+') && is_digit(q[2]));
            if (ok && !is_digit(q[1]))
                nc_buf_addc(&clean, *q++);
        } else if (*q == '_' && !power)
            continue;
        else if (!is_digit(*q) && !(q == s && minus))
            ok = false;
        nc_buf_addc(&clean, *q);
    }
    ok = ok && (point || power);
    if (ok) {
        if (!nc_parse_double(clean.p, &value))          /* only too large is left: Python reads inf */
            value = minus ? -(double)INFINITY : (double)INFINITY;
        set_number(a, v, nc_format_double(value, text));
    }
    nc_buf_free(&clean);
    return ok;
}

bool nc_yaml_resolve(nc_arena *a, nc_str s, nc_json *v)
{
    static const char *const null[] = { "", "~", "null", "Null", "NULL", NULL };
    static const char *const yes[] = { "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL };
    static const char *const no[] = { "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL };
    const char *text = nc_arena_strndup(a, s.p, s.n);
    v->type = NC_JSON_STRING;
    v->text = (nc_str){ text, s.n };
    if (memchr(text, 0, s.n))
        return true;
    if (among(v->text, null)) {
        v->type = NC_JSON_NULL;
        v->text = (nc_str){ NULL, 0 };
    } else if (among(v->text, yes) || among(v->text, no)) {
        v->type = NC_JSON_BOOL;
        v->boolean = among(v->text, yes);
        v->text = (nc_str){ NULL, 0 };
    } else if (*text == '+' || *text == '-' || *text == '.' || is_digit(*text)) {
        int integer = resolve_int(a, text, v);
        if (integer < 0)
            return false;
        if (integer == 0)
            resolve_float(a, text, v);
    }
    return true;
}
