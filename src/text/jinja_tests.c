/* jinja_tests.c - what may stand behind `is` (tests.py of Jinja 3.1). */
#include "text/jinja.h"

static bool t_defined(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type != J_UNDEFINED; }
static bool t_undefined(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_UNDEFINED; }
static bool t_none(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_NONE; }
static bool t_boolean(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_BOOL; }
static bool t_true(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_BOOL && v.b; }
static bool t_false(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_BOOL && !v.b; }
static bool t_integer(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_INT || v.type == J_BIG; }
static bool t_float(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_FLOAT; }
static bool t_number(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return jis_number(v) || v.type == J_BIG; }
static bool t_string(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_STRING; }
static bool t_mapping(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.type == J_DICT; }
static bool t_escaped(jstate *s, jvalue v, const jcall *c) { (void)s; (void)c; return v.markup; }

static bool t_sequence(jstate *s, jvalue v, const jcall *c)
{
    (void)s;
    (void)c;
    return v.type == J_STRING || v.type == J_LIST || v.type == J_TUPLE || v.type == J_DICT || v.type == J_RANGE || v.type == J_UNDEFINED;
}

static bool t_iterable(jstate *s, jvalue v, const jcall *c)
{
    return t_sequence(s, v, c) || v.type == J_VIEW || v.type == J_ITERATOR || v.type == J_LOOP;
}

static bool t_callable(jstate *s, jvalue v, const jcall *c)
{
    (void)s;
    (void)c;
    return v.type == J_FUNCTION || v.type == J_METHOD || v.type == J_MACRO || v.type == J_JOINER || v.type == J_BLOCK || v.type == J_LOOP || v.type == J_UNDEFINED;
}

static const jvalue *other(jstate *s, const jcall *c)
{
    const jvalue *v = nc_jarg(c, 0, NULL);
    if (!v)
        nc_jfail(s, "TypeError", "a test needs one more argument");
    return v;
}

static bool remainder_is(jstate *s, jvalue v, nc_int by, nc_int want)
{
    jvalue r = nc_jbinary(s, OP_MOD, v, jint(by));
    return !s->failed && nc_jequal(s, r, jint(want));
}

static bool t_odd(jstate *s, jvalue v, const jcall *c) { (void)c; return remainder_is(s, v, 2, 1); }
static bool t_even(jstate *s, jvalue v, const jcall *c) { (void)c; return remainder_is(s, v, 2, 0); }

static bool t_divisibleby(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *by = other(s, c);
    return by && nc_jequal(s, nc_jbinary(s, OP_MOD, v, *by), jint(0));
}

static bool t_eq(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *o = other(s, c);
    return o && nc_jequal(s, v, *o);
}

static bool t_ne(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *o = other(s, c);
    return o && !nc_jequal(s, v, *o);
}

static int order(jstate *s, jvalue v, const jcall *c, const char *op)
{
    const jvalue *o = other(s, c);
    return o ? nc_jcompare(s, v, *o, op) : 2;
}

static bool t_gt(jstate *s, jvalue v, const jcall *c) { return order(s, v, c, ">") == 1; }
static bool t_lt(jstate *s, jvalue v, const jcall *c) { return order(s, v, c, "<") == -1; }
static bool t_ge(jstate *s, jvalue v, const jcall *c) { int o = order(s, v, c, ">="); return o == 0 || o == 1; }
static bool t_le(jstate *s, jvalue v, const jcall *c) { int o = order(s, v, c, "<="); return o == 0 || o == -1; }

static bool t_in(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *o = other(s, c);
    return o && nc_jcontains(s, v, *o);
}

static bool t_sameas(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *o = other(s, c);
    if (!o || o->type != v.type)
        return false;
    bool simple = v.type <= J_STRING;
    return simple ? nc_jequal(s, v, *o) : v.list == o->list;
}

static bool is_case(jstate *s, jvalue v, const char *method)
{
    return nc_jmethod_call(s, jstr(nc_jtext(s, v)), nc_str_of(method), &(jcall){ 0 }).b;
}

static bool t_lower(jstate *s, jvalue v, const jcall *c) { (void)c; return is_case(s, v, "islower"); }
static bool t_upper(jstate *s, jvalue v, const jcall *c) { (void)c; return is_case(s, v, "isupper"); }
static bool t_filter(jstate *s, jvalue v, const jcall *c) { (void)c; return nc_jfilter_find(nc_jtext(s, v)) != NULL; }
static bool t_test(jstate *s, jvalue v, const jcall *c) { (void)c; return nc_jtest_find(nc_jtext(s, v)) != NULL; }

jtest_fn *nc_jtest_find(nc_str name)
{
    static const struct { const char *name; jtest_fn *run; } table[] = {
        { "defined", t_defined }, { "undefined", t_undefined }, { "none", t_none }, { "boolean", t_boolean }, { "true", t_true }, { "false", t_false },
        { "integer", t_integer }, { "float", t_float }, { "number", t_number }, { "string", t_string }, { "mapping", t_mapping },
        { "sequence", t_sequence }, { "iterable", t_iterable }, { "callable", t_callable }, { "escaped", t_escaped }, { "odd", t_odd },
        { "even", t_even }, { "divisibleby", t_divisibleby }, { "eq", t_eq }, { "equalto", t_eq }, { "==", t_eq }, { "ne", t_ne }, { "!=", t_ne },
        { "gt", t_gt }, { "greaterthan", t_gt }, { ">", t_gt }, { "lt", t_lt }, { "lessthan", t_lt }, { "<", t_lt }, { "ge", t_ge }, { ">=", t_ge },
        { "le", t_le }, { "<=", t_le }, { "in", t_in }, { "sameas", t_sameas }, { "lower", t_lower }, { "upper", t_upper }, { "filter", t_filter },
        { "test", t_test },
    };
    for (int i = 0; i < NC_COUNT(table); i++)
        if (nc_str_eqz(name, table[i].name))
            return table[i].run;
    return NULL;
}
