/* jinja_globals.c - functions every chat template may call: range, dict, namespace, cycler, joiner, raise_exception, strftime_now. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "text/jinja.h"

const jvalue *nc_jarg(const jcall *c, int index, const char *name)
{
    if (index >= 0 && index < c->n)
        return &c->args[index];
    for (int i = 0; name && i < c->named_n; i++)
        if (c->named[i].key.type == J_STRING && nc_str_eqz(c->named[i].key.s, name))
            return &c->named[i].value;
    return NULL;
}

nc_str nc_jarg_text(jstate *s, const jcall *c, int index, const char *name, const char *fallback)
{
    const jvalue *v = nc_jarg(c, index, name);
    return v && v->type != J_NONE ? nc_jtext(s, *v) : nc_str_of(fallback);
}

int64_t nc_jarg_int(jstate *s, const jcall *c, int index, const char *name, int64_t fallback)
{
    const jvalue *v = nc_jarg(c, index, name);
    if (!v || v->type == J_NONE)
        return fallback;
    if (v->type == J_UNDEFINED)
        nc_jundefined_fail(s, *v);
    else if (!jis_integer(*v))
        nc_jfail(s, "TypeError", "'%s' object cannot be interpreted as an integer", nc_jtype_name(*v));
    if (s->failed)
        return fallback;
    nc_int i = jas_int(*v);
    return i > INT32_MAX ? INT32_MAX : i < INT32_MIN ? INT32_MIN : (int64_t)i;
}

bool nc_jarg_bool(const jcall *c, int index, const char *name, bool fallback)
{
    const jvalue *v = nc_jarg(c, index, name);
    return v ? nc_jtruth(*v) : fallback;
}

static jvalue run_range(jstate *s, const jcall *c)
{
    nc_int part[3] = { 0, 0, 1 };
    if (c->n < 1 || c->n > 3)
        return nc_jfail(s, "TypeError", "range expected at %s argument%s, got %d", c->n ? "most 3" : "least 1", c->n ? "s" : "", c->n);
    for (int i = 0; i < c->n; i++) {
        if (c->args[i].type == J_UNDEFINED)
            return nc_jundefined_fail(s, c->args[i]);
        if (!jis_integer(c->args[i]))
            return nc_jfail(s, "TypeError", "'%s' object cannot be interpreted as an integer", nc_jtype_name(c->args[i]));
        part[c->n == 1 ? 1 : i] = jas_int(c->args[i]);
    }
    if (part[2] == 0)
        return nc_jfail(s, "ValueError", "range() arg 3 must not be zero");
    const nc_int most = (nc_int)1 << 100;
    if (part[0] > most || part[0] < -most || part[1] > most || part[1] < -most || part[2] > most || part[2] < -most)
        return nc_jfail(s, "OverflowError", "a range leaves 100 bits");
    nc_int width = part[2] > 0 ? part[1] - part[0] : part[0] - part[1], step = part[2] > 0 ? part[2] : -part[2];
    nc_int n = width > 0 ? (width + step - 1) / step : 0;
    if (n > 100000)
        return nc_jfail(s, "OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    jvalue v = { .type = J_RANGE };
    v.range = NC_NEW(s->arena, jrange);
    *v.range = (jrange){ part[0], part[1], part[2], (int64_t)n };
    return v;
}

static void update(jstate *s, jdict *d, jvalue from)
{
    if (from.type == J_DICT) {
        for (int i = 0; i < from.dict->n; i++)
            nc_jdict_set(s, d, from.dict->p[i].key, from.dict->p[i].value);
        return;
    }
    jlist *items = nc_jiterate(s, from);
    for (int i = 0; items && i < items->n && !s->failed; i++) {
        jlist *pair = nc_jiterate(s, items->p[i]);
        if (pair && pair->n == 2)
            nc_jdict_set(s, d, pair->p[0], pair->p[1]);
        else
            nc_jfail(s, "ValueError", "dictionary update sequence element #%d has length %d; 2 is required", i, pair ? pair->n : 0);
    }
}

static jvalue run_dict(jstate *s, const jcall *c)
{
    jvalue v = nc_jdict_new(s);
    if (c->n)
        update(s, v.dict, c->args[0]);
    for (int i = 0; i < c->named_n; i++)
        nc_jdict_set(s, v.dict, c->named[i].key, c->named[i].value);
    return v;
}

static jvalue run_namespace(jstate *s, const jcall *c)
{
    jvalue v = run_dict(s, c);
    v.type = J_NAMESPACE;
    for (int i = 0; i < v.dict->n && !s->failed; i++) {
        jvalue key = v.dict->p[i].key;
        if (key.type == J_STRING && key.s.n && key.s.p[0] == '_')
            return nc_jfail(s, "SecurityError", "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '%.*s'. Please rename the attribute.",
                         (int)(key.s.n < 200 ? key.s.n : 200), key.s.p);
    }
    return v;
}

static jvalue run_cycler(jstate *s, const jcall *c)
{
    if (!c->n)
        return nc_jfail(s, "RuntimeError", "at least one item has to be provided");
    jvalue list = nc_jlist_new(s, J_LIST, "list"), v = { .type = J_CYCLER };
    for (int i = 0; i < c->n; i++)
        nc_jlist_add(s, list.list, c->args[i]);
    v.cycler = NC_NEW(s->arena, jcycler);
    v.cycler->items = list.list;
    return v;
}

static jvalue run_joiner(jstate *s, const jcall *c)
{
    jvalue list = nc_jlist_new(s, J_LIST, "list"), v = { .type = J_JOINER };
    const jvalue *separator = nc_jarg(c, 0, "sep");
    nc_jlist_add(s, list.list, separator ? *separator : jstr(NC_STR(", ")));
    v.cycler = NC_NEW(s->arena, jcycler);
    v.cycler->items = list.list;
    return v;
}

static jvalue run_raise(jstate *s, const jcall *c)
{
    nc_str text = nc_jarg_text(s, c, 0, "message", "");
    return nc_jfail(s, "TemplateError", "%.*s", (int)(text.n < 900 ? text.n : 900), text.p);
}

static jvalue run_strftime(jstate *s, const jcall *c)
{
    struct tm parts;
    nc_str format = nc_jarg_text(s, c, 0, "format", "");
    double now = s->limits.now ? s->limits.now : nc_wall_time();
    time_t seconds = (time_t)floor(now);
    char text[1024];
    if (format.n > 200)
        return nc_jfail(s, "LimitError", "strftime_now: the format has more than 200 bytes");
    if (s->limits.now_is_utc)
        gmtime_r(&seconds, &parts);
    else
        localtime_r(&seconds, &parts);
    size_t n = format.n ? strftime(text, sizeof text, nc_arena_strndup(s->arena, format.p, format.n), &parts) : 0;
    return nc_jcopy(s, text, n);
}

static jvalue run_lipsum(jstate *s, const jcall *c)
{
    (void)c;
    return nc_jfail(s, "TypeError", "lipsum makes random text and is not for chat templates");
}

const jfunction *nc_jglobal(nc_str name)
{
    static const jfunction table[] = {
        { "range", run_range }, { "dict", run_dict }, { "namespace", run_namespace }, { "cycler", run_cycler }, { "joiner", run_joiner },
        { "raise_exception", run_raise }, { "strftime_now", run_strftime }, { "lipsum", run_lipsum },
    };
    for (int i = 0; i < NC_COUNT(table); i++)
        if (nc_str_eqz(name, table[i].name))
            return &table[i];
    return NULL;
}
