/* jinja_eval.c - runs a syntax tree: expressions to values, statements to output.
 *
 * A scope is a list of variables with a parent. for (each round), with, macro, call, filter and set blocks open one; if does not. A macro sees the scope it
 * was defined in as it is when called.
 */
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"

enum flow { GO_ON, BREAK, CONTINUE };

static enum flow run(jstate *s, const jnode *first);

static void set_in(jstate *s, jscope *scope, nc_str name, jvalue v)
{
    for (int i = 0; i < scope->n; i++) {
        if (nc_str_eq(scope->vars[i].key.s, name)) {
            scope->vars[i].value = v;
            return;
        }
    }
    if (scope->n == scope->capacity) {
        int capacity = scope->capacity ? scope->capacity * 2 : 4;
        jpair *vars = NC_NEW_ARRAY(s->arena, jpair, capacity);
        if (scope->n)
            memcpy(vars, scope->vars, (size_t)scope->n * sizeof *vars);
        scope->vars = vars;
        scope->capacity = capacity;
    }
    scope->vars[scope->n++] = (jpair){ jstr(name), v };
}

static const jvalue *find(const jscope *scope, nc_str name)
{
    for (; scope; scope = scope->parent)
        for (int i = 0; i < scope->n; i++)
            if (nc_str_eq(scope->vars[i].key.s, name))
                return &scope->vars[i].value;
    return NULL;
}

static jscope *push_scope(jstate *s, jscope *parent)
{
    jscope *old = s->scope;
    s->scope = NC_NEW(s->arena, jscope);
    s->scope->parent = parent;
    return old;
}

static jvalue lookup(jstate *s, nc_str name)
{
    const jvalue *known = find(s->scope, name);
    if (known)
        return *known;
    const jfunction *f = nc_jglobal(name);
    if (f)
        return (jvalue){ .type = J_FUNCTION, .function = f };
    if (nc_str_eqz(name, "self"))
        return (jvalue){ .type = J_SELF, .block = s->t->body };
    return nc_jmissing_of(s, "UndefinedError", "'%.*s' is undefined", (int)(name.n < 200 ? name.n : 200), name.p);
}

static void add_named(jstate *s, jcall *c, int *capacity, jvalue key, jvalue value)
{
    if (c->named_n == *capacity) {
        int grown = *capacity ? *capacity * 2 : 4;
        jpair *p = NC_NEW_ARRAY(s->arena, jpair, grown);
        if (c->named_n)
            memcpy(p, c->named, (size_t)c->named_n * sizeof *p);
        c->named = p;
        *capacity = grown;
    }
    c->named[c->named_n++] = (jpair){ key, value };
}

static jcall arguments(jstate *s, const jnode *first)
{
    jcall c = { 0 };
    jvalue list = nc_jlist_new(s, J_LIST, "list");
    int capacity = 0;
    for (const jnode *n = first; n && !s->failed; n = n->next) {
        if (n->kind == N_KEYWORD) {
            add_named(s, &c, &capacity, jstr(n->name), nc_jeval(s, n->a));
        } else if (n->kind == N_SPREAD) {
            jlist *items = nc_jiterate(s, nc_jeval(s, n->a));
            for (int i = 0; items && i < items->n; i++)
                nc_jlist_add(s, list.list, items->p[i]);
        } else if (n->kind == N_SPREAD_NAMED) {
            jvalue d = nc_jeval(s, n->a);
            for (int i = 0; d.type == J_DICT && i < d.dict->n; i++)
                add_named(s, &c, &capacity, d.dict->p[i].key, d.dict->p[i].value);
        } else {
            nc_jlist_add(s, list.list, nc_jeval(s, n));
        }
    }
    c.args = list.list->p;
    c.n = list.list->n;
    return c;
}

static jvalue captured(jstate *s, const jnode *first, jscope *parent)
{
    nc_buf text = { 0 }, *out = s->out;
    jscope *old = push_scope(s, parent);
    s->out = &text;
    run(s, first);
    s->out = out;
    s->scope = old;
    return nc_jbuf(s, &text);
}

static bool assign(jstate *s, const jnode *target, jvalue v)
{
    if (s->failed)
        return false;
    if (target->kind == N_NAME) {
        set_in(s, s->scope, target->name, v);
        return true;
    }
    if (target->kind == N_GETATTR) {
        jvalue ns = nc_jeval(s, target->a);
        if (ns.type != J_NAMESPACE) {
            nc_jfail(s, "TemplateRuntimeError", "cannot assign attribute on non-namespace object");
            return false;
        }
        if (target->name.n && target->name.p[0] == '_') {
            nc_jfail(s, "SecurityError", "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '%.*s'. Please rename the attribute.",
                  (int)(target->name.n < 200 ? target->name.n : 200), target->name.p);
            return false;
        }
        nc_jdict_set(s, ns.dict, jstr(target->name), v);
        return true;
    }
    jlist *items = nc_jiterate(s, v);
    int count = 0, at = 0;
    for (const jnode *n = target->first; n; n = n->next)
        count++;
    if (!items)
        return false;
    if (items->n != count) {
        if (items->n > count)
            nc_jfail(s, "ValueError", "too many values to unpack (expected %d)", count);
        else
            nc_jfail(s, "ValueError", "not enough values to unpack (expected %d, got %d)", count, items->n);
        return false;
    }
    for (const jnode *n = target->first; n; n = n->next)
        if (!assign(s, n, items->p[at++]))
            return false;
    return true;
}

/* Parameters by position, then by name, then default; a default sees the parameters before it. */
static jvalue call_macro(jstate *s, const jmacro *m, const jcall *c)
{
    const jnode *params = m->node->b;
    int at = 0, taken = 0;
    jloop *loop = s->loop;
    if (!nc_jdeeper(s))
        return jundefined();
    jscope *old = push_scope(s, m->scope), *inner = s->scope;
    for (const jnode *p = params; p && !s->failed; p = p->next, at++) {
        const jvalue *v = nc_jarg(c, at, nc_arena_strndup(s->arena, p->name.p, p->name.n));
        taken += at >= c->n && v != NULL;
        if (v)
            set_in(s, inner, p->name, *v);
        else
            set_in(s, inner, p->name, p->a ? nc_jeval(s, p->a) : nc_jmissing_of(s, "UndefinedError", "parameter '%.*s' was not provided", (int)p->name.n, p->name.p));
    }
    const jvalue *caller = nc_jarg(c, INT32_MAX, "caller");
    if (caller) {
        set_in(s, inner, NC_STR("caller"), *caller);
        taken++;
    }
    if (c->n > at && !s->failed) {
        jvalue rest = nc_jlist_new(s, J_TUPLE, "tuple");
        for (int i = at; i < c->n; i++)
            nc_jlist_add(s, rest.list, c->args[i]);
        set_in(s, inner, NC_STR("varargs"), rest);
    }
    if (c->named_n > taken && !s->failed) {
        jvalue rest = nc_jdict_new(s);
        for (int i = 0; i < c->named_n; i++)
            nc_jdict_set(s, rest.dict, c->named[i].key, c->named[i].value);
        set_in(s, inner, NC_STR("kwargs"), rest);
    }
    s->loop = NULL;
    jvalue out = s->failed ? jundefined() : captured(s, m->node->first, inner);
    s->loop = loop;
    s->scope = old;
    s->depth--;
    return out;
}

static enum flow loop_over(jstate *s, const jnode *n, jlist *items, int depth, jscope *parent);

static jvalue call_loop(jstate *s, jloop *l, const jcall *c)
{
    nc_buf text = { 0 }, *out = s->out;
    if (!l->node->flag)
        return nc_jfail(s, "TypeError", "The loop must have the 'recursive' marker to be called recursively.");
    jlist *items = c->n ? nc_jiterate(s, c->args[0]) : NULL;
    if (!items || !nc_jdeeper(s))
        return jundefined();
    s->out = &text;
    loop_over(s, l->node, items, l->depth + 1, l->scope);
    s->out = out;
    s->depth--;
    return nc_jbuf(s, &text);
}

static jvalue call_method_of(jstate *s, const jmethod *m, const jcall *c)
{
    jloop *l = m->self.type == J_LOOP ? m->self.loop : NULL;
    if (l && nc_str_eqz(m->name, "cycle"))
        return c->n ? c->args[l->at % c->n] : nc_jfail(s, "TypeError", "no items for cycling given");
    if (l) {
        jvalue now = nc_jlist_new(s, J_TUPLE, "tuple");
        for (int i = 0; i < c->n; i++)
            nc_jlist_add(s, now.list, c->args[i]);
        bool changed = !l->changed || !nc_jequal(s, *l->changed, now);
        l->changed = NC_NEW(s->arena, jvalue);
        *l->changed = now;
        return jbool(changed);
    }
    if (m->self.type == J_CYCLER) {
        jcycler *y = m->self.cycler;
        jvalue v = y->items->p[y->at];
        y->at = nc_str_eqz(m->name, "reset") ? 0 : (y->at + 1) % y->items->n;
        return nc_str_eqz(m->name, "reset") ? jnone() : v;
    }
    return nc_jmethod_call(s, m->self, m->name, c);
}

jvalue nc_jcall_value(jstate *s, jvalue callee, const jcall *c)
{
    if (s->failed || !nc_jstep(s, 1))
        return jundefined();
    switch (callee.type) {
    case J_UNDEFINED: return nc_jundefined_fail(s, callee);
    case J_FUNCTION: return callee.function->run(s, c);
    case J_METHOD: return call_method_of(s, callee.method, c);
    case J_MACRO: return call_macro(s, callee.macro, c);
    case J_LOOP: return call_loop(s, callee.loop, c);
    case J_BLOCK: return captured(s, callee.block->first, s->globals);
    case J_JOINER:
        if (callee.cycler->at++)
            return callee.cycler->items->p[0];
        return jstr(NC_STR(""));
    default: return nc_jfail(s, "TypeError", "'%s' object is not callable", nc_jtype_name(callee));
    }
}

static jvalue filtered(jstate *s, const jnode *n, jvalue v)
{
    if (n->a)
        v = filtered(s, n->a, v);
    jfilter_fn *f = nc_jfilter_find(n->name);
    if (!f)
        return nc_jfail(s, "TemplateRuntimeError", "No filter named '%.*s' found.", (int)n->name.n, n->name.p);
    jcall c = arguments(s, n->first);
    return s->failed || !nc_jstep(s, 1) ? jundefined() : f(s, v, &c);
}

static jvalue eval_filter(jstate *s, const jnode *n)
{
    jvalue v = nc_jeval(s, n->a);
    jfilter_fn *f = nc_jfilter_find(n->name);
    if (!f)
        return nc_jfail(s, "TemplateRuntimeError", "No filter named '%.*s' found.", (int)n->name.n, n->name.p);
    jcall c = arguments(s, n->first);
    return s->failed ? jundefined() : f(s, v, &c);
}

static jvalue eval_test(jstate *s, const jnode *n)
{
    jvalue v = nc_jeval(s, n->a);
    jtest_fn *f = nc_jtest_find(n->name);
    if (!f)
        return nc_jfail(s, "TemplateRuntimeError", "No test named '%.*s' found.", (int)n->name.n, n->name.p);
    jcall c = arguments(s, n->first);
    return s->failed ? jundefined() : jbool(f(s, v, &c) != n->flag);
}

static bool compared(jstate *s, int op, jvalue a, jvalue b)
{
    static const char *const names[] = { "<", "<=", ">", ">=" };
    if (op == OP_EQ || op == OP_NE)
        return nc_jequal(s, a, b) == (op == OP_EQ);
    if (op == OP_IN || op == OP_NOT_IN)
        return nc_jcontains(s, a, b) == (op == OP_IN);
    int order = nc_jcompare(s, a, b, names[op - OP_LT]);
    if (order == 2)
        return false;
    return op == OP_LT ? order < 0 : op == OP_LE ? order <= 0 : op == OP_GT ? order > 0 : order >= 0;
}

static jvalue eval_compare(jstate *s, const jnode *n)
{
    jvalue left = nc_jeval(s, n->a);
    for (const jnode *o = n->first; o && !s->failed; o = o->next) {
        jvalue right = nc_jeval(s, o->a);
        if (s->failed || !compared(s, o->op, left, right))
            return jbool(false);
        left = right;
    }
    return jbool(true);
}

static jvalue eval_dict(jstate *s, const jnode *n)
{
    jvalue out = nc_jdict_new(s);
    for (const jnode *p = n->first; p && !s->failed; p = p->next) {
        jvalue key = nc_jeval(s, p->a);
        if (key.type == J_LIST || key.type == J_DICT)
            return nc_jfail(s, "TypeError", "unhashable type: '%s'", nc_jtype_name(key));
        nc_jdict_set(s, out.dict, key, nc_jeval(s, p->b));
    }
    return out;
}

static jvalue eval_concat(jstate *s, const jnode *n)
{
    nc_buf b = { 0 };
    for (const jnode *p = n->first; p && !s->failed; p = p->next)
        nc_jprint(s, &b, nc_jeval(s, p));
    return nc_jbuf(s, &b);
}

static jvalue eval_list(jstate *s, const jnode *n)
{
    jvalue out = nc_jlist_new(s, n->kind == N_LIST ? J_LIST : J_TUPLE, n->kind == N_LIST ? "list" : "tuple");
    for (const jnode *p = n->first; p && !s->failed; p = p->next)
        nc_jlist_add(s, out.list, nc_jeval(s, p));
    return out;
}

static jvalue evaluate(jstate *s, const jnode *n)
{
    jvalue v;
    jcall c;
    switch (n->kind) {
    case N_CONST: return n->value;
    case N_NAME: return lookup(s, n->name);
    case N_LIST:
    case N_TUPLE: return eval_list(s, n);
    case N_DICT: return eval_dict(s, n);
    case N_GETATTR: return nc_jgetattr(s, nc_jeval(s, n->a), n->name);
    case N_GETITEM:
        v = nc_jeval(s, n->a);
        if (n->b->kind == N_SLICE)
            return nc_jslice(s, v, n->b->a ? nc_jeval(s, n->b->a) : jnone(), n->b->b ? nc_jeval(s, n->b->b) : jnone(), n->b->c ? nc_jeval(s, n->b->c) : jnone());
        return nc_jgetitem(s, v, nc_jeval(s, n->b));
    case N_CALL:
        v = nc_jeval(s, n->a);
        c = arguments(s, n->first);
        return nc_jcall_value(s, v, &c);
    case N_FILTER: return eval_filter(s, n);
    case N_TEST: return eval_test(s, n);
    case N_UNARY: return nc_junary(s, n->op, nc_jeval(s, n->a));
    case N_BINARY:
        v = nc_jeval(s, n->a);
        return nc_jbinary(s, n->op, v, nc_jeval(s, n->b));
    case N_AND:
        v = nc_jeval(s, n->a);
        return nc_jtruth(v) ? nc_jeval(s, n->b) : v;
    case N_OR:
        v = nc_jeval(s, n->a);
        return nc_jtruth(v) ? v : nc_jeval(s, n->b);
    case N_NOT: return jbool(!nc_jtruth(nc_jeval(s, n->a)));
    case N_COMPARE: return eval_compare(s, n);
    case N_CONCAT: return eval_concat(s, n);
    case N_IF_EXPRESSION:
        if (nc_jtruth(nc_jeval(s, n->a)))
            return nc_jeval(s, n->b);
        return n->c ? nc_jeval(s, n->c) : nc_jmissing_of(s, "UndefinedError", "the inline if-expression on line %d evaluated to false and no else section was defined.", n->line);
    default: return nc_jfail(s, "TypeError", "a slice stands where none can");
    }
}

jvalue nc_jeval(jstate *s, const jnode *n)
{
    if (s->failed || !nc_jstep(s, 1) || !nc_jdeeper(s))
        return jundefined();
    jvalue v = evaluate(s, n);
    s->depth--;
    return s->failed ? jundefined() : v;
}

static enum flow loop_over(jstate *s, const jnode *n, jlist *items, int depth, jscope *parent)
{
    jscope *old = s->scope;
    jloop *outer = s->loop, *l = NC_NEW(s->arena, jloop);
    if (n->c) {
        jvalue kept = nc_jlist_new(s, J_LIST, "list");
        for (int i = 0; i < items->n && !s->failed; i++) {
            push_scope(s, parent);
            if (assign(s, n->a, items->p[i]) && nc_jtruth(nc_jeval(s, n->c)))
                nc_jlist_add(s, kept.list, items->p[i]);
        }
        items = kept.list;
    }
    *l = (jloop){ .items = items, .depth = depth, .node = n, .scope = parent, .outer = outer };
    s->loop = l;
    enum flow flow = GO_ON;
    for (int i = 0; i < items->n && flow != BREAK && !s->failed; i++) {
        l->at = i;
        push_scope(s, parent);
        set_in(s, s->scope, NC_STR("loop"), (jvalue){ .type = J_LOOP, .loop = l });
        if (assign(s, n->a, items->p[i]))
            flow = run(s, n->first);
    }
    s->loop = outer;
    s->scope = old;
    if (!items->n && n->d && !s->failed) {
        push_scope(s, parent);
        flow = run(s, n->d);
        s->scope = old;
        return flow;
    }
    return GO_ON;
}

static void check_output(jstate *s)
{
    if (s->out->n > s->limits.output)
        nc_jfail(s, "LimitError", "the output is longer than %zu bytes", s->limits.output);
}

static void note_span(jstate *s, size_t begin)
{
    nc_template_spans *x = s->spans;
    if (!x || s->out != s->top || s->failed)
        return;
    if (x->n == x->capacity) {
        x->capacity = x->capacity ? x->capacity * 2 : 8;
        x->p = nc_xrealloc(x->p, x->capacity * sizeof *x->p);
    }
    x->p[x->n++] = (nc_template_span){ begin, s->out->n };
}

static jmacro *new_macro(jstate *s, const jnode *n, nc_str name, bool caller)
{
    jmacro *m = NC_NEW(s->arena, jmacro);
    *m = (jmacro){ name, n, s->scope, caller };
    return m;
}

static void run_call_block(jstate *s, const jnode *n)
{
    jvalue callee = nc_jeval(s, n->a->a);
    jcall c = arguments(s, n->a->first);
    int capacity = c.named_n;
    add_named(s, &c, &capacity, jstr(NC_STR("caller")), (jvalue){ .type = J_MACRO, .macro = new_macro(s, n, NC_STR("caller"), true) });
    nc_jprint(s, s->out, nc_jcall_value(s, callee, &c));
}

static enum flow run_with(jstate *s, const jnode *n)
{
    jscope *old = push_scope(s, s->scope), *inner = s->scope;
    for (const jnode *set = n->a; set && !s->failed; set = set->next) {
        s->scope = old;
        jvalue v = nc_jeval(s, set->b);
        s->scope = inner;
        assign(s, set->a, v);
    }
    enum flow flow = run(s, n->first);
    s->scope = old;
    return flow;
}

static enum flow run_if(jstate *s, const jnode *n)
{
    return nc_jtruth(nc_jeval(s, n->a)) ? run(s, n->first) : n->d ? run(s, n->d) : GO_ON;
}

static void run_print(jstate *s, const jnode *n)
{
    for (const jnode *p = n->first; p && !s->failed; p = p->next) {
        jvalue v = nc_jeval(s, p);
        if (!s->failed)
            nc_jprint(s, s->out, v);
    }
}

static enum flow run_one(jstate *s, const jnode *n)
{
    enum flow flow = GO_ON;
    size_t begin = s->out->n;
    jscope *old;
    jlist *items;
    switch (n->kind) {
    case N_TEXT: nc_buf_add(s->out, n->name.p, n->name.n); break;
    case N_PRINT: run_print(s, n); break;
    case N_FOR:
        items = nc_jiterate(s, nc_jeval(s, n->b));
        if (items && !s->failed)
            flow = loop_over(s, n, items, 0, s->scope);
        break;
    case N_IF: return run_if(s, n);
    case N_SET: assign(s, n->a, nc_jeval(s, n->b)); break;
    case N_SET_BLOCK: {
        jvalue text = captured(s, n->first, s->scope);
        assign(s, n->a, n->b ? filtered(s, n->b, text) : text);
        break;
    }
    case N_MACRO: set_in(s, s->scope, n->name, (jvalue){ .type = J_MACRO, .macro = new_macro(s, n, n->name, false) }); break;
    case N_CALL_BLOCK: run_call_block(s, n); break;
    case N_FILTER_BLOCK: nc_jprint(s, s->out, filtered(s, n->b, captured(s, n->first, s->scope))); break;
    case N_WITH: return run_with(s, n);
    case N_BLOCK:
        old = push_scope(s, s->globals);
        flow = run(s, n->first);
        s->scope = old;
        break;
    case N_GENERATION:
        flow = run(s, n->first);
        note_span(s, begin);
        break;
    case N_BREAK: return BREAK;
    case N_CONTINUE: return CONTINUE;
    case N_NO_LOADER: nc_jfail(s, "TypeError", "no loader for this environment specified"); break;
    default: break;
    }
    return flow;
}

static enum flow run(jstate *s, const jnode *first)
{
    enum flow flow = GO_ON;
    if (!nc_jdeeper(s))
        return GO_ON;
    for (const jnode *n = first; n && flow == GO_ON && nc_jstep(s, 1); n = n->next) {
        flow = run_one(s, n);
        check_output(s);
    }
    s->depth--;
    return flow;
}

int nc_template_render(const nc_template *t, const nc_json *context, const nc_template_limits *limits, nc_buf *out, nc_template_spans *spans, nc_error *e)
{
    nc_error local;
    nc_buf text = { 0 };
    jstate s = { .t = t, .arena = nc_arena_new(), .error = e ? e : &local, .out = &text, .top = &text, .spans = spans };
    if (limits)
        s.limits = *limits;
    s.limits.output = s.limits.output ? s.limits.output : (size_t)64 << 20;
    s.limits.steps = s.limits.steps ? s.limits.steps : 20000000;
    size_t span_count = spans ? spans->n : 0, base = out->n;
    push_scope(&s, NULL);
    s.globals = s.scope;
    NC_JSON_EACH(item, nc_json_is(context, NC_JSON_OBJECT) ? context : NULL)
        set_in(&s, s.scope, item->key, nc_jfrom_json(&s, item));
    run(&s, t->body);
    if (s.failed && spans)
        spans->n = span_count;
    for (size_t i = span_count; spans && i < spans->n; i++) {
        spans->p[i].begin += base;
        spans->p[i].end += base;
    }
    if (!s.failed)
        nc_buf_add(out, text.p ? text.p : "", text.n);
    nc_buf_free(&text);
    nc_arena_free(s.arena);
    return s.failed ? s.error->code : NC_OK;
}
