/* jinja_parse_expression.c - expressions of a template, by Jinja 3.1's precedences (parser.py).
 *
 * COMPARE: a left, first BINARY nodes with the right side in a. IF_EXPRESSION: a test, b then, c else. CALL, FILTER, TEST: a subject, first arguments.
 * SLICE: a, b, c the bounds and step, NULL where left out.
 */
#include <string.h>

#include "text/jinja_parse.h"

static jnode *condition_free(struct parser *p);
static jnode *unary(struct parser *p, bool with_filter);

static jnode *constant(struct parser *p, jvalue v)
{
    jnode *n = nc_jparse_node(p, N_CONST);
    n->value = v;
    return n;
}

static jnode *integer(struct parser *p)
{
    nc_str t = p->t->text;
    int base = 10;
    size_t i = 0;
    nc_int value = 0;
    if (t.n > 2 && t.p[0] == '0' && strchr("bBoOxX", t.p[1])) {
        base = (t.p[1] | 32) == 'b' ? 2 : (t.p[1] | 32) == 'o' ? 8 : 16;
        i = 2;
    }
    for (; i < t.n; i++) {
        if (t.p[i] == '_')
            continue;
        int digit = t.p[i] <= '9' ? t.p[i] - '0' : (t.p[i] | 32) - 'a' + 10;
        if (digit >= base || __builtin_mul_overflow(value, (nc_int)base, &value) || __builtin_add_overflow(value, (nc_int)digit, &value))
            return fail(p, "the number %.*s is too large or has a wrong digit", (int)(t.n < 60 ? t.n : 60), t.p);
    }
    jnode *n = constant(p, jint(value));
    nc_jparse_next(p);
    return n;
}

static jnode *floating(struct parser *p)
{
    char text[400];
    size_t n = 0;
    for (size_t i = 0; i < p->t->text.n && n + 1 < sizeof text; i++)
        if (p->t->text.p[i] != '_')
            text[n++] = p->t->text.p[i];
    text[n] = 0;
    double value = 0;
    nc_parse_double(text, &value);
    jnode *c = constant(p, jfloat(value));
    nc_jparse_next(p);
    return c;
}

static bool at_tuple_end(const struct parser *p)
{
    return p->t->kind == T_PRINT_END || p->t->kind == T_BLOCK_END || p->t->kind == T_END || nc_jparse_is_op(p, ")");
}

/* a, b, ... is a tuple, a alone is itself. explicit: inside parentheses, where nothing at all is the empty tuple. conditions false: as in `for x in a if ..`. */
jnode *nc_jparse_tuple(struct parser *p, bool explicit, bool conditions, bool until_in)
{
    jnode *t = nc_jparse_node(p, N_TUPLE), **at = &t->first;
    int count = 0;
    bool comma = false;
    for (;;) {
        if (count)
            nc_jparse_expect_op(p, ",");
        if (p->failed || at_tuple_end(p) || (until_in && nc_jparse_is_word(p, "in")))
            break;
        jnode *item = conditions ? nc_jparse_expression(p) : condition_free(p);
        if (!item)
            return NULL;
        *at = item;
        at = &item->next;
        count++;
        if (!nc_jparse_is_op(p, ","))
            break;
        comma = true;
    }
    if (p->failed)
        return NULL;
    if (!comma && count == 1) {
        jnode *only = t->first;
        only->next = NULL;
        return only;
    }
    if (!count && !explicit)
        return fail(p, "Expected an expression, got '%s'", nc_jparse_describe(p));
    return t;
}

static jnode *list(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_LIST), **at = &n->first;
    nc_jparse_next(p);
    while (!p->failed && !nc_jparse_is_op(p, "]")) {
        if (n->first)
            nc_jparse_expect_op(p, ",");
        if (nc_jparse_is_op(p, "]"))
            break;
        jnode *item = nc_jparse_expression(p);
        if (!item)
            return NULL;
        *at = item;
        at = &item->next;
    }
    nc_jparse_expect_op(p, "]");
    return p->failed ? NULL : n;
}

static jnode *dict(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_DICT), **at = &n->first;
    nc_jparse_next(p);
    while (!p->failed && !nc_jparse_is_op(p, "}")) {
        if (n->first)
            nc_jparse_expect_op(p, ",");
        if (nc_jparse_is_op(p, "}"))
            break;
        jnode *pair = nc_jparse_node(p, N_PAIR);
        pair->a = nc_jparse_expression(p);
        nc_jparse_expect_op(p, ":");
        pair->b = p->failed ? NULL : nc_jparse_expression(p);
        *at = pair;
        at = &pair->next;
    }
    nc_jparse_expect_op(p, "}");
    return p->failed ? NULL : n;
}

static jnode *name_or_constant(struct parser *p)
{
    jnode *n;
    if (nc_jparse_is_word(p, "true") || nc_jparse_is_word(p, "True"))
        n = constant(p, jbool(true));
    else if (nc_jparse_is_word(p, "false") || nc_jparse_is_word(p, "False"))
        n = constant(p, jbool(false));
    else if (nc_jparse_is_word(p, "none") || nc_jparse_is_word(p, "None"))
        n = constant(p, jnone());
    else {
        n = nc_jparse_node(p, N_NAME);
        n->name = p->t->text;
    }
    nc_jparse_next(p);
    return n;
}

static jnode *strings(struct parser *p)
{
    nc_str all = p->t->text;
    jnode *n = nc_jparse_node(p, N_CONST);
    nc_jparse_next(p);
    while (p->t->kind == T_STRING) {
        char *joined = nc_arena_alloc(p->arena, all.n + p->t->text.n + 1);
        memcpy(joined, all.p, all.n);
        memcpy(joined + all.n, p->t->text.p, p->t->text.n);
        all = (nc_str){ joined, all.n + p->t->text.n };
        nc_jparse_next(p);
    }
    n->value = jstr(all);
    return n;
}

static jnode *primary(struct parser *p)
{
    switch (p->t->kind) {
    case T_NAME: return name_or_constant(p);
    case T_STRING: return strings(p);
    case T_INTEGER: return integer(p);
    case T_FLOAT: return floating(p);
    default: break;
    }
    if (nc_jparse_is_op(p, "(")) {
        nc_jparse_next(p);
        jnode *n = nc_jparse_tuple(p, true, true, false);
        nc_jparse_expect_op(p, ")");
        return n;
    }
    if (nc_jparse_is_op(p, "["))
        return list(p);
    if (nc_jparse_is_op(p, "{"))
        return dict(p);
    return fail(p, "unexpected '%s'", nc_jparse_describe(p));
}

static jnode *slice_or_item(struct parser *p)
{
    jnode *parts[3] = { NULL }, *n = nc_jparse_node(p, N_SLICE);
    int at = 0;
    if (!nc_jparse_is_op(p, ":")) {
        parts[0] = nc_jparse_expression(p);
        if (!nc_jparse_is_op(p, ":"))
            return parts[0];
    }
    while (at < 2 && nc_jparse_skip_op(p, ":")) {
        at++;
        if (!nc_jparse_is_op(p, ":") && !nc_jparse_is_op(p, "]") && !nc_jparse_is_op(p, ","))
            parts[at] = nc_jparse_expression(p);
    }
    n->a = parts[0];
    n->b = parts[1];
    n->c = parts[2];
    return p->failed ? NULL : n;
}

static jnode *subscript(struct parser *p, jnode *of)
{
    jnode *n = nc_jparse_node(p, N_GETATTR);
    n->a = of;
    if (nc_jparse_skip_op(p, ".")) {
        if (p->t->kind == T_NAME) {
            n->name = p->t->text;
            nc_jparse_next(p);
            return n;
        }
        if (p->t->kind != T_INTEGER)
            return fail(p, "expected name or number");
        n->kind = N_GETITEM;
        n->b = integer(p);
        return n;
    }
    nc_jparse_next(p);
    n->kind = N_GETITEM;
    n->b = slice_or_item(p);
    if (nc_jparse_is_op(p, ",")) {
        jnode *t = nc_jparse_node(p, N_TUPLE), **at = &t->first;
        for (jnode *item = n->b; item; item = nc_jparse_skip_op(p, ",") && !nc_jparse_is_op(p, "]") ? slice_or_item(p) : NULL) {
            *at = item;
            at = &item->next;
        }
        n->b = t;
    }
    nc_jparse_expect_op(p, "]");
    return p->failed ? NULL : n;
}

/* "(" arguments ")" onto n->first. */
static void arguments(struct parser *p, jnode *n)
{
    jnode **at = &n->first;
    bool named = false, any = false;
    nc_jparse_expect_op(p, "(");
    while (!p->failed && !nc_jparse_is_op(p, ")")) {
        if (any)
            nc_jparse_expect_op(p, ",");
        if (nc_jparse_is_op(p, ")"))
            break;
        any = true;
        jnode *item;
        if (nc_jparse_is_op(p, "*") || nc_jparse_is_op(p, "**")) {
            item = nc_jparse_node(p, nc_jparse_is_op(p, "*") ? N_SPREAD : N_SPREAD_NAMED);
            named |= item->kind == N_SPREAD_NAMED;
            nc_jparse_next(p);
            item->a = nc_jparse_expression(p);
        } else if (p->t->kind == T_NAME && p->t[1].kind == T_OPERATOR && nc_str_eqz(p->t[1].text, "=")) {
            item = nc_jparse_node(p, N_KEYWORD);
            item->name = p->t->text;
            nc_jparse_next(p);
            nc_jparse_next(p);
            item->a = nc_jparse_expression(p);
            named = true;
        } else {
            if (named)
                fail(p, "invalid syntax for function call expression");
            item = nc_jparse_expression(p);
        }
        if (p->failed || !item)
            return;
        *at = item;
        at = &item->next;
    }
    nc_jparse_expect_op(p, ")");
}

static nc_str dotted_name(struct parser *p)
{
    nc_str name = nc_jparse_expect_name(p);
    while (!p->failed && nc_jparse_is_op(p, ".")) {
        nc_jparse_next(p);
        nc_str more = nc_jparse_expect_name(p);
        if (!p->failed)
            name = nc_str_of(nc_arena_printf(p->arena, "%.*s.%.*s", (int)name.n, name.p, (int)more.n, more.p));
    }
    return name;
}

jnode *nc_jparse_filter(struct parser *p, jnode *subject)
{
    jnode *n = nc_jparse_node(p, N_FILTER);
    n->a = subject;
    n->name = dotted_name(p);
    if (!p->failed && !p->soft && !nc_jfilter_find(n->name))
        return nc_jparse_fail(p, "TemplateAssertionError", "No filter named '%.*s'.", (int)n->name.n, n->name.p);
    if (nc_jparse_is_op(p, "("))
        arguments(p, n);
    return p->failed ? NULL : n;
}

static jnode *postfix(struct parser *p, jnode *n)
{
    while (n && !p->failed) {
        if (nc_jparse_is_op(p, ".") || nc_jparse_is_op(p, "[")) {
            n = subscript(p, n);
        } else if (nc_jparse_is_op(p, "(")) {
            jnode *call = nc_jparse_node(p, N_CALL);
            call->a = n;
            arguments(p, call);
            n = call;
        } else {
            break;
        }
    }
    return p->failed ? NULL : n;
}

static jnode *test(struct parser *p, jnode *subject)
{
    jnode *n = nc_jparse_node(p, N_TEST);
    n->a = subject;
    nc_jparse_next(p);
    n->flag = nc_jparse_skip_word(p, "not");
    n->name = dotted_name(p);
    if (!p->failed && !p->soft && !nc_jtest_find(n->name))
        return nc_jparse_fail(p, "TemplateAssertionError", "No test named '%.*s'.", (int)n->name.n, n->name.p);
    if (nc_jparse_is_op(p, "(")) {
        arguments(p, n);
    } else if (!p->failed && (p->t->kind == T_STRING || p->t->kind == T_INTEGER || p->t->kind == T_FLOAT || nc_jparse_is_op(p, "[") || nc_jparse_is_op(p, "{") ||
               (p->t->kind == T_NAME && !nc_jparse_is_word(p, "else") && !nc_jparse_is_word(p, "or") && !nc_jparse_is_word(p, "and")))) {
        if (nc_jparse_is_word(p, "is"))
            return fail(p, "You cannot chain multiple tests with is");
        n->first = postfix(p, primary(p));
    }
    return p->failed ? NULL : n;
}

static jnode *filters(struct parser *p, jnode *n)
{
    while (n && !p->failed) {
        if (nc_jparse_skip_op(p, "|")) {
            n = nc_jparse_filter(p, n);
        } else if (nc_jparse_is_word(p, "is")) {
            n = test(p, n);
        } else if (nc_jparse_is_op(p, "(")) {
            jnode *call = nc_jparse_node(p, N_CALL);
            call->a = n;
            arguments(p, call);
            n = call;
        } else {
            break;
        }
    }
    return p->failed ? NULL : n;
}

static jnode *unary(struct parser *p, bool with_filter)
{
    jnode *n;
    if (!nc_jparse_deeper(p))
        return NULL;
    if (nc_jparse_is_op(p, "-") || nc_jparse_is_op(p, "+")) {
        n = nc_jparse_node(p, N_UNARY);
        n->op = nc_jparse_is_op(p, "-") ? OP_NEG : OP_POS;
        nc_jparse_next(p);
        n->a = unary(p, false);
    } else {
        n = primary(p);
    }
    n = p->failed ? NULL : postfix(p, n);
    if (with_filter)
        n = filters(p, n);
    p->depth--;
    return p->failed ? NULL : n;
}

/* A chain of left-associative operators; spellings and ops are parallel. */
static jnode *chain(struct parser *p, jnode *operand(struct parser *), const char *const *spelling, const int *op, int count)
{
    jnode *left = operand(p);
    while (left && !p->failed) {
        int hit = -1;
        for (int i = 0; i < count; i++)
            if (nc_jparse_is_op(p, spelling[i]))
                hit = i;
        if (hit < 0)
            break;
        jnode *n = nc_jparse_node(p, N_BINARY);
        nc_jparse_next(p);
        n->op = op[hit];
        n->a = left;
        n->b = operand(p);
        left = n;
    }
    return p->failed ? NULL : left;
}

static jnode *full_unary(struct parser *p) { return unary(p, true); }

static jnode *power(struct parser *p)
{
    static const char *const s[] = { "**" };
    static const int op[] = { OP_POW };
    return chain(p, full_unary, s, op, 1);
}

static jnode *product(struct parser *p)
{
    static const char *const s[] = { "*", "/", "//", "%" };
    static const int op[] = { OP_MUL, OP_DIV, OP_FLOOR, OP_MOD };
    return chain(p, power, s, op, 4);
}

static jnode *concat(struct parser *p)
{
    jnode *left = product(p);
    if (!left || !nc_jparse_is_op(p, "~"))
        return left;
    jnode *n = nc_jparse_node(p, N_CONCAT), **at;
    n->first = left;
    at = &left->next;
    while (!p->failed && nc_jparse_skip_op(p, "~")) {
        jnode *item = product(p);
        if (!item)
            return NULL;
        *at = item;
        at = &item->next;
    }
    return p->failed ? NULL : n;
}

static jnode *sum(struct parser *p)
{
    static const char *const s[] = { "+", "-" };
    static const int op[] = { OP_ADD, OP_SUB };
    return chain(p, concat, s, op, 2);
}

static int comparison(struct parser *p)
{
    static const char *const s[] = { "==", "!=", "<", "<=", ">", ">=" };
    static const int op[] = { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };
    for (int i = 0; i < 6; i++)
        if (nc_jparse_skip_op(p, s[i]))
            return op[i];
    if (nc_jparse_skip_word(p, "in"))
        return OP_IN;
    if (nc_jparse_is_word(p, "not") && p->t[1].kind == T_NAME && nc_str_eqz(p->t[1].text, "in")) {
        nc_jparse_next(p);
        nc_jparse_next(p);
        return OP_NOT_IN;
    }
    return 0;
}

static jnode *compare(struct parser *p)
{
    jnode *left = sum(p), *n = NULL, **at = NULL;
    int op;
    while (left && !p->failed && (op = comparison(p)) != 0) {
        if (!n) {
            n = nc_jparse_node(p, N_COMPARE);
            n->a = left;
            at = &n->first;
        }
        jnode *right = nc_jparse_node(p, N_BINARY);
        right->op = op;
        right->a = sum(p);
        *at = right;
        at = &right->next;
    }
    return p->failed ? NULL : n ? n : left;
}

static jnode *negation(struct parser *p)
{
    if (!nc_jparse_is_word(p, "not"))
        return compare(p);
    if (!nc_jparse_deeper(p))
        return NULL;
    jnode *n = nc_jparse_node(p, N_NOT);
    nc_jparse_next(p);
    n->a = negation(p);
    p->depth--;
    return p->failed ? NULL : n;
}

static jnode *logic(struct parser *p, const char *word, jkind kind, jnode *operand(struct parser *))
{
    jnode *left = operand(p);
    while (left && !p->failed && nc_jparse_skip_word(p, word)) {
        jnode *n = nc_jparse_node(p, kind);
        n->a = left;
        n->b = operand(p);
        left = n;
    }
    return p->failed ? NULL : left;
}

static jnode *conjunction(struct parser *p) { return logic(p, "and", N_AND, negation); }
static jnode *condition_free(struct parser *p) { return logic(p, "or", N_OR, conjunction); }

jnode *nc_jparse_expression(struct parser *p)
{
    if (!nc_jparse_deeper(p))
        return NULL;
    bool soft = p->soft;
    jnode *then = condition_free(p);
    while (then && !p->failed && nc_jparse_skip_word(p, "if")) {
        jnode *n = nc_jparse_node(p, N_IF_EXPRESSION);
        p->soft = true;
        n->a = condition_free(p);
        n->b = then;
        n->c = !p->failed && nc_jparse_skip_word(p, "else") ? nc_jparse_expression(p) : NULL;
        p->soft = soft;
        then = n;
    }
    p->depth--;
    return p->failed ? NULL : then;
}
