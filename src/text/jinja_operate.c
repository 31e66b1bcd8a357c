/* jinja_operate.c - operators, subscripts and attributes, with Python's results and Python's complaints. */
#include <math.h>
#include <string.h>

#include "text/jinja.h"

static const char *op_name(int op)
{
    static const char *const names[] = { "", "+", "-", "*", "/", "//", "%", "** or pow()" };
    return op >= OP_ADD && op <= OP_POW ? names[op] : "";
}

static jvalue overflow(jstate *s)
{
    return nc_jfail(s, "OverflowError", "an integer leaves 128 bits");
}

static nc_int floor_divide(nc_int a, nc_int b)
{
    nc_int q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static jvalue power(jstate *s, nc_int base, nc_int exponent)
{
    nc_int result = 1;
    if (exponent < 0)
        return base ? jfloat(pow((double)base, (double)exponent)) : nc_jfail(s, "ZeroDivisionError", "0.0 cannot be raised to a negative power");
    if (base == 0 || base == 1 || base == -1)
        return jint(exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base);
    for (nc_int i = 0; i < exponent; i++)
        if (__builtin_mul_overflow(result, base, &result))
            return overflow(s);
    return jint(result);
}

static jvalue integers(jstate *s, int op, nc_int a, nc_int b)
{
    nc_int r;
    const nc_int least = (nc_int)1 << 126;
    switch (op) {
    case OP_ADD: return __builtin_add_overflow(a, b, &r) ? overflow(s) : jint(r);
    case OP_SUB: return __builtin_sub_overflow(a, b, &r) ? overflow(s) : jint(r);
    case OP_MUL: return __builtin_mul_overflow(a, b, &r) ? overflow(s) : jint(r);
    case OP_POW: return power(s, a, b);
    default: break;
    }
    if (b == 0)
        return nc_jfail(s, "ZeroDivisionError", op == OP_DIV ? "division by zero" : op == OP_FLOOR ? "integer division or modulo by zero" : "integer modulo by zero");
    if (a < -least || a > least)
        return overflow(s);
    if (op == OP_DIV)
        return jfloat((double)a / (double)b);
    nc_int q = floor_divide(a, b);
    return jint(op == OP_FLOOR ? q : a - q * b);
}

static jvalue floats(jstate *s, int op, double a, double b)
{
    switch (op) {
    case OP_ADD: return jfloat(a + b);
    case OP_SUB: return jfloat(a - b);
    case OP_MUL: return jfloat(a * b);
    case OP_POW: return jfloat(pow(a, b));
    default: break;
    }
    if (b == 0)
        return nc_jfail(s, "ZeroDivisionError", op == OP_DIV ? "float division by zero" : op == OP_FLOOR ? "float floor division by zero" : "float modulo");
    double rest = fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0))
        rest += b;
    return jfloat(op == OP_DIV ? a / b : op == OP_MOD ? rest : floor((a - rest) / b + 0.5));
}

static jvalue repeat(jstate *s, jvalue v, nc_int times)
{
    if (times < 0)
        times = 0;
    if (v.type == J_STRING) {
        if (v.s.n && times > (nc_int)(s->limits.output / v.s.n))
            return nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
        nc_buf b = { 0 };
        for (nc_int i = 0; i < times && v.s.n; i++)
            nc_buf_add(&b, v.s.p, v.s.n);
        return nc_jbuf(s, &b);
    }
    jvalue out = nc_jlist_new(s, v.type, v.list->kind);
    for (nc_int i = 0; i < times && v.list->n && !s->failed; i++)
        for (int k = 0; k < v.list->n; k++)
            nc_jlist_add(s, out.list, v.list->p[k]);
    return out;
}

static jvalue joined(jstate *s, jvalue a, jvalue b)
{
    if (a.type == J_STRING) {
        nc_buf buf = { 0 };
        bool markup = a.markup || b.markup;
        a = markup ? nc_jescaped(s, a) : a;
        b = markup ? nc_jescaped(s, b) : b;
        if (s->failed)
            return jundefined();
        nc_buf_reserve(&buf, a.s.n + b.s.n);
        nc_buf_add(&buf, a.s.p, a.s.n);
        nc_buf_add(&buf, b.s.p, b.s.n);
        a = nc_jbuf(s, &buf);
        a.markup = markup;
        return a;
    }
    jvalue out = nc_jlist_new(s, a.type, a.list->kind);
    for (int i = 0; i < a.list->n; i++)
        nc_jlist_add(s, out.list, a.list->p[i]);
    for (int i = 0; i < b.list->n; i++)
        nc_jlist_add(s, out.list, b.list->p[i]);
    return out;
}

static bool is_sequence(jvalue v)
{
    return v.type == J_STRING || v.type == J_LIST || v.type == J_TUPLE;
}

jvalue nc_jbinary(jstate *s, int op, jvalue a, jvalue b)
{
    if (s->failed || !nc_jstep(s, 1))
        return jundefined();
    if (a.type == J_UNDEFINED || b.type == J_UNDEFINED)
        if (!(op == OP_MOD && a.type == J_STRING))
            return nc_jundefined_fail(s, a.type == J_UNDEFINED ? a : b);
    if (a.type == J_BIG || b.type == J_BIG)
        return overflow(s);
    if (jis_number(a) && jis_number(b))
        return a.type == J_FLOAT || b.type == J_FLOAT ? floats(s, op, nc_jas_double(a), nc_jas_double(b)) : integers(s, op, jas_int(a), jas_int(b));
    if (op == OP_ADD && is_sequence(a)) {
        if (a.type == b.type)
            return joined(s, a, b);
        return nc_jfail(s, "TypeError", "can only concatenate %s (not \"%s\") to %s", nc_jtype_name(a), nc_jtype_name(b), nc_jtype_name(a));
    }
    if (op == OP_MUL && is_sequence(a) && jis_integer(b))
        return repeat(s, a, jas_int(b));
    if (op == OP_MUL && is_sequence(b) && jis_integer(a))
        return repeat(s, b, jas_int(a));
    if (op == OP_MUL && (is_sequence(a) || is_sequence(b)))
        return nc_jfail(s, "TypeError", "can't multiply sequence by non-int of type '%s'", nc_jtype_name(is_sequence(a) ? b : a));
    if (op == OP_MOD && a.type == J_STRING)
        return nc_jformat_percent(s, a.s, b);
    return nc_jfail(s, "TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op_name(op), nc_jtype_name(a), nc_jtype_name(b));
}

jvalue nc_junary(jstate *s, int op, jvalue a)
{
    if (s->failed)
        return a;
    if (a.type == J_UNDEFINED)
        return nc_jundefined_fail(s, a);
    if (a.type == J_FLOAT)
        return jfloat(op == OP_NEG ? -a.f : a.f);
    if (jis_integer(a))
        return integers(s, OP_SUB, 0, op == OP_NEG ? jas_int(a) : -jas_int(a));
    return nc_jfail(s, "TypeError", "bad operand type for unary %s: '%s'", op == OP_NEG ? "-" : "+", nc_jtype_name(a));
}

bool nc_jcontains(jstate *s, jvalue needle, jvalue hay)
{
    if (s->failed)
        return false;
    if (hay.type == J_STRING) {
        if (needle.type != J_STRING) {
            nc_jfail(s, "TypeError", "'in <string>' requires string as left operand, not %s", nc_jtype_name(needle));
            return false;
        }
        nc_jstep(s, (int64_t)(hay.s.n / 256));
        return !needle.s.n || memmem(hay.s.p, hay.s.n, needle.s.p, needle.s.n);
    }
    if (hay.type == J_DICT)
        return nc_jdict_get(s, hay.dict, needle) != NULL;
    if (hay.type == J_NONE || jis_number(hay) || hay.type == J_FUNCTION || hay.type == J_MACRO || hay.type == J_NAMESPACE) {
        nc_jfail(s, "TypeError", "argument of type '%s' is not iterable", nc_jtype_name(hay));
        return false;
    }
    jlist *l = nc_jiterate(s, hay);
    for (int i = 0; l && i < l->n && !s->failed; i++)
        if (nc_jequal(s, l->p[i], needle))
            return true;
    return false;
}

static jvalue no_attribute(jstate *s, jvalue v, nc_str name)
{
    return nc_jmissing_of(s, "UndefinedError", "'%s' has no attribute '%.*s'", nc_jobject_name(s, v), (int)(name.n < 200 ? name.n : 200), name.p);
}

static jvalue no_element(jstate *s, jvalue v, jvalue key)
{
    if (key.type == J_STRING)
        return no_attribute(s, v, key.s);
    nc_buf b = { 0 };
    nc_jrepr(s, &b, key);
    jvalue out = nc_jmissing_of(s, "UndefinedError", "%s has no element %.200s", nc_jobject_name(s, v), b.p ? b.p : "");
    nc_buf_free(&b);
    return out;
}

static jvalue loop_attribute(jstate *s, jvalue v, nc_str name)
{
    const jloop *l = v.loop;
    int n = l->items->n, at = l->at;
    if (nc_str_eqz(name, "index"))
        return jint(at + 1);
    if (nc_str_eqz(name, "index0"))
        return jint(at);
    if (nc_str_eqz(name, "revindex"))
        return jint(n - at);
    if (nc_str_eqz(name, "revindex0"))
        return jint(n - at - 1);
    if (nc_str_eqz(name, "first"))
        return jbool(at == 0);
    if (nc_str_eqz(name, "last"))
        return jbool(at + 1 == n);
    if (nc_str_eqz(name, "length"))
        return jint(n);
    if (nc_str_eqz(name, "depth"))
        return jint(l->depth + 1);
    if (nc_str_eqz(name, "depth0"))
        return jint(l->depth);
    if (nc_str_eqz(name, "previtem"))
        return at > 0 ? l->items->p[at - 1] : nc_jmissing_of(s, "UndefinedError", "there is no previous item");
    if (nc_str_eqz(name, "nextitem"))
        return at + 1 < n ? l->items->p[at + 1] : nc_jmissing_of(s, "UndefinedError", "there is no next item");
    return no_attribute(s, v, name);
}

static jvalue method(jstate *s, jvalue self, nc_str name)
{
    jvalue v = { .type = J_METHOD };
    v.method = NC_NEW(s->arena, jmethod);
    *v.method = (jmethod){ self, name };
    return v;
}

jvalue nc_jgetattr(jstate *s, jvalue v, nc_str name)
{
    if (s->failed || !nc_jstep(s, 1))
        return jundefined();
    jvalue key = jstr(name);
    const jvalue *known;
    if (v.type == J_UNDEFINED)
        return nc_jundefined_fail(s, v);
    if (nc_jmethod_is_unsafe(v, name))
        return nc_jmissing_of(s, "SecurityError", "access to attribute '%.*s' of '%s' object is unsafe.", (int)(name.n < 200 ? name.n : 200), name.p, nc_jtype_name(v));
    if (nc_jmethod_exists(v, name))
        return method(s, v, name);
    switch (v.type) {
    case J_DICT:
        known = nc_jdict_get(s, v.dict, key);
        return known ? *known : no_attribute(s, v, name);
    case J_NAMESPACE:
        known = nc_jdict_get(s, v.dict, key);
        return known ? *known : no_attribute(s, v, name);
    case J_LOOP: return loop_attribute(s, v, name);
    case J_MACRO:
        if (nc_str_eqz(name, "name"))
            return jstr(v.macro->name);
        return no_attribute(s, v, name);
    case J_CYCLER:
        if (nc_str_eqz(name, "current"))
            return v.cycler->items->p[v.cycler->at];
        return no_attribute(s, v, name);
    case J_SELF:
        for (const jnode *n = v.block; n; n = n->next)
            if (n->kind == N_BLOCK && nc_str_eq(n->name, name))
                return (jvalue){ .type = J_BLOCK, .block = n };
        return no_attribute(s, v, name);
    default: return no_attribute(s, v, name);
    }
}

static jvalue at_index(jstate *s, jvalue v, jvalue key)
{
    nc_int index = jas_int(key);
    int64_t n = v.type == J_STRING || v.type == J_RANGE ? nc_jlength(s, v) : v.list->n;
    if (index < 0)
        index += n;
    if (index < 0 || index >= n)
        return no_element(s, v, key);
    if (v.type == J_RANGE)
        return jint(v.range->start + index * v.range->step);
    if (v.type != J_STRING)
        return v.list->p[index];
    size_t begin = nc_jchar_at(v.s, (int64_t)index), end = begin + 1;
    while (end < v.s.n && ((unsigned char)v.s.p[end] & 0xc0) == 0x80)
        end++;
    return jstr((nc_str){ v.s.p + begin, end - begin });
}

jvalue nc_jgetitem(jstate *s, jvalue v, jvalue key)
{
    if (s->failed || !nc_jstep(s, 1))
        return jundefined();
    if (v.type == J_UNDEFINED)
        return nc_jundefined_fail(s, v);
    if (v.type == J_DICT) {
        const jvalue *known = nc_jdict_get(s, v.dict, key);
        if (known)
            return *known;
    }
    if ((is_sequence(v) || v.type == J_RANGE) && jis_integer(key))
        return at_index(s, v, key);
    if (key.type == J_STRING && v.type != J_DICT)
        return nc_jgetattr(s, v, key.s);
    if (key.type == J_STRING && nc_jmethod_exists(v, key.s))
        return method(s, v, key.s);
    return no_element(s, v, key);
}

/* Python's slice.indices for a sequence of n. */
static bool slice_bounds(jstate *s, jvalue start, jvalue stop, jvalue step, int64_t n, int64_t out[3])
{
    jvalue parts[3] = { start, stop, step };
    for (int i = 0; i < 3; i++) {
        if (parts[i].type != J_NONE && !jis_integer(parts[i])) {
            if (parts[i].type == J_UNDEFINED)
                nc_jundefined_fail(s, parts[i]);
            else
                nc_jfail(s, "TypeError", "slice indices must be integers or None or have an __index__ method");
            return false;
        }
    }
    nc_int by = step.type == J_NONE ? 1 : jas_int(step);
    if (by == 0) {
        nc_jfail(s, "ValueError", "slice step cannot be zero");
        return false;
    }
    nc_int low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n, bound[2];
    for (int i = 0; i < 2; i++) {
        if (parts[i].type == J_NONE) {
            bound[i] = (i == 0) == (by < 0) ? high : low;
            continue;
        }
        bound[i] = jas_int(parts[i]);
        if (bound[i] < 0)
            bound[i] += n;
        bound[i] = bound[i] < low ? low : bound[i] > high ? high : bound[i];
    }
    out[0] = (int64_t)bound[0];
    out[1] = (int64_t)bound[1];
    out[2] = by > n ? n + 1 : by < -n ? -n - 1 : (int64_t)by;
    return true;
}

static jvalue slice_of(jstate *s, jvalue v, jvalue start, jvalue stop, jvalue step)
{
    int64_t b[3];
    if (s->failed)
        return jundefined();
    if (v.type == J_UNDEFINED)
        return nc_jundefined_fail(s, v);
    if (!is_sequence(v) && v.type != J_RANGE)
        return nc_jmissing_of(s, "UndefinedError", "%s has no element slice(...)", nc_jobject_name(s, v));
    if (v.type == J_STRING && step.type == J_NONE) {
        if (!slice_bounds(s, start, stop, step, nc_jlength(s, v), b))
            return jundefined();
        size_t from = nc_jchar_at(v.s, b[0]);
        size_t to = b[1] <= b[0] ? from : from + nc_jchar_at((nc_str){ v.s.p + from, v.s.n - from }, b[1] - b[0]);
        return jstr((nc_str){ v.s.p + from, to - from });
    }
    jlist *items = nc_jiterate(s, v);
    if (!items || !slice_bounds(s, start, stop, step, items->n, b))
        return jundefined();
    if (v.type == J_STRING) {
        nc_buf text = { 0 };
        for (int64_t i = b[0]; b[2] > 0 ? i < b[1] : i > b[1]; i += b[2])
            nc_buf_add(&text, items->p[i].s.p, items->p[i].s.n);
        return nc_jbuf(s, &text);
    }
    jvalue out = nc_jlist_new(s, v.type == J_RANGE ? J_LIST : v.type, "list");
    for (int64_t i = b[0]; (b[2] > 0 ? i < b[1] : i > b[1]) && !s->failed; i += b[2])
        nc_jlist_add(s, out.list, items->p[i]);
    return out;
}

jvalue nc_jslice(jstate *s, jvalue v, jvalue start, jvalue stop, jvalue step)
{
    jvalue out = slice_of(s, v, start, stop, step);
    out.markup = v.markup && out.type == J_STRING;
    return out;
}
