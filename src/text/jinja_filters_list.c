/* jinja_filters_list.c - filters on sequences and mappings (filters.py of Jinja 3.1). What Jinja makes lazily is made at once here and marked as an iterator. */
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

static jvalue f_length(jstate *s, jvalue v, const jcall *c) { (void)c; return jint(nc_jlength(s, v)); }

static jvalue f_first(jstate *s, jvalue v, const jcall *c)
{
    jlist *l = nc_jiterate(s, v);
    (void)c;
    return !l ? jundefined() : l->n ? l->p[0] : nc_jmissing_of(s, "UndefinedError", "No first item, sequence was empty.");
}

static jvalue f_last(jstate *s, jvalue v, const jcall *c)
{
    (void)c;
    if (v.type == J_ITERATOR)
        return nc_jfail(s, "TypeError", "'%s' object is not reversible", nc_jtype_name(v));
    jlist *l = nc_jiterate(s, v);
    return !l ? jundefined() : l->n ? l->p[l->n - 1] : nc_jmissing_of(s, "UndefinedError", "No last item, sequence was empty.");
}

/* An attribute path "a.b.0" of each item, as the attribute= arguments take it. */
static jvalue attribute_of(jstate *s, jvalue v, jvalue path, const jvalue *otherwise)
{
    if (path.type != J_STRING) {
        v = nc_jgetitem(s, v, path);
    } else {
        nc_str t = path.s;
        for (;;) {
            const char *dot = memchr(t.p, '.', t.n);
            nc_str name = { t.p, dot ? (size_t)(dot - t.p) : t.n };
            int64_t index;
            bool number = name.n > 0 && name.n < 10 && nc_parse_int(nc_arena_strndup(s->arena, name.p, name.n), &index);
            v = nc_jgetitem(s, v, number ? jint(index) : jstr(name));
            if (otherwise && v.type == J_UNDEFINED)
                return *otherwise;
            if (!dot)
                break;
            t = (nc_str){ dot + 1, t.n - name.n - 1 };
        }
    }
    return otherwise && v.type == J_UNDEFINED ? *otherwise : v;
}

static jvalue f_list(jstate *s, jvalue v, const jcall *c)
{
    jlist *l = nc_jiterate(s, v);
    jvalue out = nc_jlist_new(s, J_LIST, "list");
    (void)c;
    for (int i = 0; l && i < l->n && !s->failed; i++)
        nc_jlist_add(s, out.list, l->p[i]);
    return out;
}

static jvalue f_join(jstate *s, jvalue v, const jcall *c)
{
    nc_str by = nc_jarg_text(s, c, 0, "d", "");
    const jvalue *attribute = nc_jarg(c, 1, "attribute");
    jlist *l = nc_jiterate(s, v);
    nc_buf out = { 0 };
    for (int i = 0; l && i < l->n && !s->failed; i++) {
        if (i)
            nc_buf_add(&out, by.p, by.n);
        nc_jprint(s, &out, attribute && attribute->type != J_NONE ? attribute_of(s, l->p[i], *attribute, NULL) : l->p[i]);
        if (out.n > s->limits.output)
            nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
    }
    return nc_jbuf(s, &out);
}

static jvalue f_reverse(jstate *s, jvalue v, const jcall *c)
{
    (void)c;
    if (v.type == J_STRING)
        return nc_jslice(s, v, jnone(), jnone(), jint(-1));
    if (v.type == J_NONE || jis_number(v) || v.type == J_UNDEFINED)
        return v.type == J_UNDEFINED ? nc_jlist_new(s, J_ITERATOR, "list_reverseiterator") : nc_jfail(s, "FilterArgumentError", "argument must be iterable");
    jlist *l = nc_jiterate(s, v);
    jvalue out = nc_jlist_new(s, J_ITERATOR, "list_reverseiterator");
    for (int i = l ? l->n : 0; i-- > 0 && !s->failed;)
        nc_jlist_add(s, out.list, l->p[i]);
    return out;
}

/* The remaining arguments of map, select ...: the name of a filter or test is args[skip]. */
static jcall rest_of(const jcall *c, int skip)
{
    jcall r = *c;
    int n = skip < c->n ? skip : c->n;
    r.args = n ? r.args + n : r.args;
    r.n -= n;
    return r;
}

static jvalue f_map(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *attribute = c->n ? NULL : nc_jarg(c, INT32_MAX, "attribute"), *otherwise = nc_jarg(c, INT32_MAX, "default");
    jvalue out = nc_jlist_new(s, J_ITERATOR, "generator");
    jfilter_fn *f = NULL;
    if (!attribute) {
        if (!c->n)
            return nc_jfail(s, "FilterArgumentError", "map requires a filter argument");
        f = nc_jfilter_find(nc_jtext(s, c->args[0]));
        if (!f)
            return nc_jfail(s, "TemplateRuntimeError", "No filter named '%.100s' found.", nc_jtext(s, c->args[0]).p);
    }
    if (!nc_jtruth(v) && v.type != J_ITERATOR && v.type != J_NONE && !jis_number(v))
        return out;
    jlist *l = v.type == J_NONE ? NULL : nc_jiterate(s, v);
    jcall rest = rest_of(c, 1);
    for (int i = 0; l && i < l->n && !s->failed; i++)
        nc_jlist_add(s, out.list, attribute ? attribute_of(s, l->p[i], *attribute, otherwise) : f(s, l->p[i], &rest));
    return out;
}

static jvalue choose(jstate *s, jvalue v, const jcall *c, bool by_attribute, bool wanted)
{
    jvalue out = nc_jlist_new(s, J_ITERATOR, "generator");
    int skip = by_attribute ? 1 : 0;
    jtest_fn *test = NULL;
    if (by_attribute && !c->n)
        return nc_jfail(s, "FilterArgumentError", "Missing parameter for attribute name");
    if (c->n > skip && !(test = nc_jtest_find(nc_jtext(s, c->args[skip]))))
        return nc_jfail(s, "TemplateRuntimeError", "No test named '%.100s' found.", nc_jtext(s, c->args[skip]).p);
    jcall rest = rest_of(c, skip + 1);
    jlist *l = v.type == J_NONE ? NULL : nc_jiterate(s, v);
    for (int i = 0; l && i < l->n && !s->failed; i++) {
        jvalue item = by_attribute ? attribute_of(s, l->p[i], c->args[0], NULL) : l->p[i];
        if (!s->failed && (test ? test(s, item, &rest) : nc_jtruth(item)) == wanted)
            nc_jlist_add(s, out.list, l->p[i]);
    }
    return out;
}

static jvalue f_select(jstate *s, jvalue v, const jcall *c) { return choose(s, v, c, false, true); }
static jvalue f_reject(jstate *s, jvalue v, const jcall *c) { return choose(s, v, c, false, false); }
static jvalue f_selectattr(jstate *s, jvalue v, const jcall *c) { return choose(s, v, c, true, true); }
static jvalue f_rejectattr(jstate *s, jvalue v, const jcall *c) { return choose(s, v, c, true, false); }

/* What items are ordered by: an attribute or themselves, texts without regard to case unless told otherwise. */
static jvalue sort_key(jstate *s, jvalue v, const jvalue *attribute, bool exact)
{
    if (attribute && attribute->type == J_STRING && memchr(attribute->s.p, ',', attribute->s.n)) {
        jvalue list = nc_jlist_new(s, J_LIST, "list");
        nc_str t = attribute->s;
        while (t.n) {
            const char *comma = memchr(t.p, ',', t.n);
            nc_str name = { t.p, comma ? (size_t)(comma - t.p) : t.n };
            jvalue one = jstr(name);
            nc_jlist_add(s, list.list, sort_key(s, v, &one, exact));
            t = comma ? (nc_str){ comma + 1, t.n - name.n - 1 } : (nc_str){ "", 0 };
        }
        return list;
    }
    if (attribute && attribute->type != J_NONE)
        v = attribute_of(s, v, *attribute, NULL);
    return !exact && v.type == J_STRING ? nc_jcase(s, v.s, 'l') : v;
}

/* Stable merge sort of the indices by their keys. */
static void merge_sort(jstate *s, const jvalue *keys, int *at, int *other, int n, bool reverse)
{
    if (n < 2 || s->failed)
        return;
    int half = n / 2, i = 0, k = half, out = 0;
    merge_sort(s, keys, at, other, half, reverse);
    merge_sort(s, keys, at + half, other, n - half, reverse);
    while (i < half || k < n) {
        bool second = i == half;
        if (i < half && k < n && nc_jstep(s, 1)) {
            int order = reverse ? nc_jcompare(s, keys[at[i]], keys[at[k]], "<") : nc_jcompare(s, keys[at[k]], keys[at[i]], "<");
            second = order < 0;
        }
        other[out++] = second ? at[k++] : at[i++];
    }
    memcpy(at, other, (size_t)n * sizeof *at);
}

static jvalue sorted(jstate *s, const jlist *l, const jvalue *keys, bool reverse)
{
    jvalue out = nc_jlist_new(s, J_LIST, "list");
    int *at = NC_NEW_ARRAY(s->arena, int, l->n + 1), *other = NC_NEW_ARRAY(s->arena, int, l->n + 1);
    for (int i = 0; i < l->n; i++)
        at[i] = i;
    merge_sort(s, keys, at, other, l->n, reverse);
    for (int i = 0; i < l->n && !s->failed; i++)
        nc_jlist_add(s, out.list, l->p[at[i]]);
    return out;
}

static jvalue *keys_of(jstate *s, const jlist *l, const jvalue *attribute, bool exact)
{
    jvalue *keys = NC_NEW_ARRAY(s->arena, jvalue, l->n + 1);
    for (int i = 0; i < l->n && nc_jstep(s, 1); i++)
        keys[i] = sort_key(s, l->p[i], attribute, exact);
    return keys;
}

static jvalue f_sort(jstate *s, jvalue v, const jcall *c)
{
    jlist *l = nc_jiterate(s, v);
    if (!l)
        return jundefined();
    return sorted(s, l, keys_of(s, l, nc_jarg(c, 2, "attribute"), nc_jarg_bool(c, 1, "case_sensitive", false)), nc_jarg_bool(c, 0, "reverse", false));
}

static jvalue f_dictsort(jstate *s, jvalue v, const jcall *c)
{
    if (v.type != J_DICT)
        return v.type == J_UNDEFINED ? nc_jundefined_fail(s, v) : nc_jfail(s, "TypeError", "'%s' object has no attribute 'items'", nc_jtype_name(v));
    jvalue items = nc_jmethod_call(s, v, NC_STR("items"), &(jcall){ 0 });
    jvalue index = jint(nc_str_eqz(nc_jarg_text(s, c, 1, "by", "key"), "value"));
    if (s->failed)
        return jundefined();
    return sorted(s, items.list, keys_of(s, items.list, &index, nc_jarg_bool(c, 0, "case_sensitive", false)), nc_jarg_bool(c, 2, "reverse", false));
}

static jvalue extreme(jstate *s, jvalue v, const jcall *c, bool largest)
{
    jlist *l = nc_jiterate(s, v);
    if (!l || !l->n)
        return l ? nc_jmissing_of(s, "UndefinedError", "No aggregated item, sequence was empty.") : jundefined();
    jvalue *keys = keys_of(s, l, nc_jarg(c, 1, "attribute"), nc_jarg_bool(c, 0, "case_sensitive", false));
    int best = 0;
    for (int i = 1; i < l->n && !s->failed; i++) {
        int order = largest ? nc_jcompare(s, keys[i], keys[best], ">") : -nc_jcompare(s, keys[i], keys[best], "<");
        if (order > 0)
            best = i;
    }
    return l->p[best];
}

static jvalue f_max(jstate *s, jvalue v, const jcall *c) { return extreme(s, v, c, true); }
static jvalue f_min(jstate *s, jvalue v, const jcall *c) { return extreme(s, v, c, false); }

static jvalue f_sum(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *attribute = nc_jarg(c, 0, "attribute"), *start = nc_jarg(c, 1, "start");
    jlist *l = nc_jiterate(s, v);
    jvalue total = start ? *start : jint(0);
    for (int i = 0; l && i < l->n && !s->failed; i++)
        total = nc_jbinary(s, OP_ADD, total, attribute && attribute->type != J_NONE ? attribute_of(s, l->p[i], *attribute, NULL) : l->p[i]);
    return total;
}

static jvalue f_unique(jstate *s, jvalue v, const jcall *c)
{
    jlist *l = nc_jiterate(s, v);
    jvalue out = nc_jlist_new(s, J_ITERATOR, "generator"), seen = nc_jlist_new(s, J_LIST, "list");
    if (!l)
        return out;
    jvalue *keys = keys_of(s, l, nc_jarg(c, 1, "attribute"), nc_jarg_bool(c, 0, "case_sensitive", false));
    for (int i = 0; i < l->n && !s->failed; i++) {
        if (nc_jcontains(s, keys[i], seen))
            continue;
        nc_jstep(s, seen.list->n / 16);
        nc_jlist_add(s, seen.list, keys[i]);
        nc_jlist_add(s, out.list, l->p[i]);
    }
    return out;
}

static jvalue f_items(jstate *s, jvalue v, const jcall *c)
{
    (void)c;
    if (v.type == J_UNDEFINED)
        return nc_jlist_new(s, J_ITERATOR, "generator");
    if (v.type != J_DICT)
        return nc_jfail(s, "TypeError", "Can only get item pairs from a mapping.");
    jvalue out = nc_jmethod_call(s, v, NC_STR("items"), &(jcall){ 0 });
    if (out.type == J_VIEW) {
        out.type = J_ITERATOR;
        out.list->kind = "generator";
    }
    return out;
}

static jvalue f_batch(jstate *s, jvalue v, const jcall *c)
{
    int64_t count = nc_jarg_int(s, c, 0, "linecount", 1);
    const jvalue *fill = nc_jarg(c, 1, "fill_with");
    jlist *l = nc_jiterate(s, v);
    jvalue out = nc_jlist_new(s, J_ITERATOR, "generator"), row = nc_jlist_new(s, J_LIST, "list");
    for (int i = 0; l && i < l->n && !s->failed; i++) {
        if (row.list->n && row.list->n == count) {
            nc_jlist_add(s, out.list, row);
            row = nc_jlist_new(s, J_LIST, "list");
        }
        nc_jlist_add(s, row.list, l->p[i]);
    }
    while (fill && fill->type != J_NONE && row.list->n && row.list->n < count && !s->failed)
        nc_jlist_add(s, row.list, *fill);
    if (row.list->n)
        nc_jlist_add(s, out.list, row);
    return out;
}

static jvalue f_slice(jstate *s, jvalue v, const jcall *c)
{
    int64_t slices = nc_jarg_int(s, c, 0, "slices", 1);
    const jvalue *fill = nc_jarg(c, 1, "fill_with");
    jlist *l = nc_jiterate(s, v);
    jvalue out = nc_jlist_new(s, J_ITERATOR, "generator");
    if (slices < 1 || !l)
        return slices < 1 ? nc_jfail(s, "ZeroDivisionError", "integer division or modulo by zero") : out;
    int64_t each = l->n / slices, longer = l->n % slices, at = 0;
    for (int64_t i = 0; i < slices && !s->failed; i++) {
        jvalue row = nc_jlist_new(s, J_LIST, "list");
        for (int64_t end = at + each + (i < longer); at < end; at++)
            nc_jlist_add(s, row.list, l->p[at]);
        if (fill && fill->type != J_NONE && i >= longer)
            nc_jlist_add(s, row.list, *fill);
        nc_jlist_add(s, out.list, row);
    }
    return out;
}

static jvalue f_groupby(jstate *s, jvalue v, const jcall *c)
{
    const jvalue *attribute = nc_jarg(c, 0, "attribute"), *otherwise = nc_jarg(c, 1, "default");
    bool exact = nc_jarg_bool(c, 2, "case_sensitive", false);
    jlist *l = nc_jiterate(s, v);
    jvalue out = nc_jlist_new(s, J_LIST, "list");
    if (!attribute || !l)
        return attribute ? out : nc_jfail(s, "TypeError", "do_groupby() missing 1 required positional argument: 'attribute'");
    jvalue *keys = NC_NEW_ARRAY(s->arena, jvalue, l->n + 1);
    jlist numbers = { .p = NC_NEW_ARRAY(s->arena, jvalue, l->n + 1), .n = l->n };
    for (int i = 0; i < l->n && nc_jstep(s, 1); i++) {
        keys[i] = attribute_of(s, l->p[i], *attribute, otherwise);
        keys[i] = !exact && keys[i].type == J_STRING ? nc_jcase(s, keys[i].s, 'l') : keys[i];
        numbers.p[i] = jint(i);
    }
    jvalue order = sorted(s, &numbers, keys, false);
    jvalue group = jundefined();
    for (int i = 0; i < l->n && !s->failed; i++) {
        int at = (int)order.list->p[i].i;
        if (i == 0 || !nc_jequal(s, keys[at], keys[(int)order.list->p[i - 1].i])) {
            jvalue pair = nc_jlist_new(s, J_TUPLE, "tuple");
            group = nc_jlist_new(s, J_LIST, "list");
            nc_jlist_add(s, pair.list, attribute_of(s, l->p[at], *attribute, otherwise));
            nc_jlist_add(s, pair.list, group);
            nc_jlist_add(s, out.list, pair);
        }
        nc_jlist_add(s, group.list, l->p[at]);
    }
    return out;
}

jfilter_fn *nc_jfilter_find_list(nc_str name)
{
    static const struct { const char *name; jfilter_fn *run; } table[] = {
        { "length", f_length }, { "count", f_length }, { "first", f_first }, { "last", f_last }, { "list", f_list }, { "join", f_join },
        { "reverse", f_reverse }, { "map", f_map }, { "select", f_select }, { "reject", f_reject }, { "selectattr", f_selectattr },
        { "rejectattr", f_rejectattr }, { "sort", f_sort }, { "dictsort", f_dictsort }, { "max", f_max }, { "min", f_min }, { "sum", f_sum },
        { "unique", f_unique }, { "items", f_items }, { "batch", f_batch }, { "slice", f_slice }, { "groupby", f_groupby },
    };
    for (int i = 0; i < NC_COUNT(table); i++)
        if (nc_str_eqz(name, table[i].name))
            return table[i].run;
    return NULL;
}
