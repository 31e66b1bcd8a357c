/* jinja_parse.c - tokens to a syntax tree, by Jinja 3.1's grammar and precedences (parser.py).
 *
 * Parts of nodes: FOR a target, b iterable, c condition, first body, d else. IF a test, first body, d else (an IF for elif). SET a target, b value.
 * SET_BLOCK a target, b filter chain, first body. MACRO and CALL_BLOCK: b parameters (NAME with default in a), CALL_BLOCK a call. FILTER_BLOCK b chain.
 * WITH a list of SET. COMPARE a left, first BINARY nodes with the right side in a. IF_EXPRESSION a test, b then, c else. CALL, FILTER, TEST: a subject, first arguments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"

struct parser {
    nc_arena *arena;
    const jtoken *t;
    nc_error *e;
    bool failed, has_generation, soft;      /* soft: inside an if, where unknown filters are an error only when reached */
    int depth;
    const char *open[J_DEPTH];              /* names of the blocks being read */
    const char *ends[J_DEPTH];              /* and the tags each looks for */
    int open_count;
};

static jnode *expression(struct parser *p);
static jnode *condition_free(struct parser *p);
static jnode *unary(struct parser *p, bool with_filter);
static jnode *body(struct parser *p, const char *name, const char *ends, nc_str *found);

static jnode *fail_as(struct parser *p, const char *class, const char *format, ...) NC_PRINTF(3, 4);
static jnode *fail_as(struct parser *p, const char *class, const char *format, ...)
{
    if (!p->failed) {
        va_list args;
        va_start(args, format);
        nc_failv(p->e, NC_EFORMAT, format, args);
        va_end(args);
        nc_fail_in(p->e, "%s", class);
    }
    p->failed = true;
    return NULL;
}
#define fail(p, ...) fail_as(p, "TemplateSyntaxError", __VA_ARGS__)

static jnode *node(struct parser *p, jkind kind)
{
    jnode *n = NC_NEW(p->arena, jnode);
    n->kind = kind;
    n->line = p->t->line;
    return n;
}

static bool is_op(const struct parser *p, const char *op)
{
    return p->t->kind == T_OPERATOR && nc_str_eqz(p->t->text, op);
}

static bool is_word(const struct parser *p, const char *word)
{
    return p->t->kind == T_NAME && nc_str_eqz(p->t->text, word);
}

static void next(struct parser *p)
{
    if (p->t->kind != T_END)
        p->t++;
}

static bool skip_op(struct parser *p, const char *op)
{
    bool hit = is_op(p, op);
    if (hit)
        next(p);
    return hit;
}

static bool skip_word(struct parser *p, const char *word)
{
    bool hit = is_word(p, word);
    if (hit)
        next(p);
    return hit;
}

static const char *describe(struct parser *p)
{
    switch (p->t->kind) {
    case T_END: return "end of template";
    case T_TEXT: return "template data / text";
    case T_BLOCK_BEGIN: return "begin of statement block";
    case T_BLOCK_END: return "end of statement block";
    case T_PRINT_BEGIN: return "begin of print statement";
    case T_PRINT_END: return "end of print statement";
    default: return nc_arena_strndup(p->arena, p->t->text.p, p->t->text.n);
    }
}

static void expected(struct parser *p, const char *what)
{
    if (p->t->kind == T_END)
        fail(p, "unexpected end of template, expected '%s'.", what);
    else
        fail(p, "expected token '%s', got '%s'", what, describe(p));
}

static void expect_op(struct parser *p, const char *op)
{
    if (!skip_op(p, op))
        expected(p, op);
}

static void expect_kind(struct parser *p, jtoken_kind kind, const char *what)
{
    if (p->t->kind != kind)
        expected(p, what);
    else
        next(p);
}

static nc_str expect_name(struct parser *p)
{
    nc_str name = p->t->text;
    expect_kind(p, T_NAME, "name");
    return name;
}

static bool deeper(struct parser *p)
{
    if (p->depth >= J_DEPTH) {
        fail(p, "nested deeper than %d", J_DEPTH);
        return false;
    }
    p->depth++;
    return !p->failed;
}

/* Expressions, loosest binding last. */

static jnode *constant(struct parser *p, jvalue v)
{
    jnode *n = node(p, N_CONST);
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
    next(p);
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
    next(p);
    return c;
}

static bool at_tuple_end(const struct parser *p)
{
    return p->t->kind == T_PRINT_END || p->t->kind == T_BLOCK_END || p->t->kind == T_END || is_op(p, ")");
}

/* a, b, ... is a tuple, a alone is itself. explicit: inside parentheses, where nothing at all is the empty tuple. conditions false: as in `for x in a if ..`. */
static jnode *tuple(struct parser *p, bool explicit, bool conditions, bool until_in)
{
    jnode *t = node(p, N_TUPLE), **at = &t->first;
    int count = 0;
    bool comma = false;
    for (;;) {
        if (count)
            expect_op(p, ",");
        if (p->failed || at_tuple_end(p) || (until_in && is_word(p, "in")))
            break;
        jnode *item = conditions ? expression(p) : condition_free(p);
        if (!item)
            return NULL;
        *at = item;
        at = &item->next;
        count++;
        if (!is_op(p, ","))
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
        return fail(p, "Expected an expression, got '%s'", describe(p));
    return t;
}

static jnode *list(struct parser *p)
{
    jnode *n = node(p, N_LIST), **at = &n->first;
    next(p);
    while (!p->failed && !is_op(p, "]")) {
        if (n->first)
            expect_op(p, ",");
        if (is_op(p, "]"))
            break;
        jnode *item = expression(p);
        if (!item)
            return NULL;
        *at = item;
        at = &item->next;
    }
    expect_op(p, "]");
    return p->failed ? NULL : n;
}

static jnode *dict(struct parser *p)
{
    jnode *n = node(p, N_DICT), **at = &n->first;
    next(p);
    while (!p->failed && !is_op(p, "}")) {
        if (n->first)
            expect_op(p, ",");
        if (is_op(p, "}"))
            break;
        jnode *pair = node(p, N_PAIR);
        pair->a = expression(p);
        expect_op(p, ":");
        pair->b = p->failed ? NULL : expression(p);
        *at = pair;
        at = &pair->next;
    }
    expect_op(p, "}");
    return p->failed ? NULL : n;
}

static jnode *name_or_constant(struct parser *p)
{
    jnode *n;
    if (is_word(p, "true") || is_word(p, "True"))
        n = constant(p, jbool(true));
    else if (is_word(p, "false") || is_word(p, "False"))
        n = constant(p, jbool(false));
    else if (is_word(p, "none") || is_word(p, "None"))
        n = constant(p, jnone());
    else {
        n = node(p, N_NAME);
        n->name = p->t->text;
    }
    next(p);
    return n;
}

static jnode *strings(struct parser *p)
{
    nc_str all = p->t->text;
    jnode *n = node(p, N_CONST);
    next(p);
    while (p->t->kind == T_STRING) {
        char *joined = nc_arena_alloc(p->arena, all.n + p->t->text.n + 1);
        memcpy(joined, all.p, all.n);
        memcpy(joined + all.n, p->t->text.p, p->t->text.n);
        all = (nc_str){ joined, all.n + p->t->text.n };
        next(p);
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
    if (is_op(p, "(")) {
        next(p);
        jnode *n = tuple(p, true, true, false);
        expect_op(p, ")");
        return n;
    }
    if (is_op(p, "["))
        return list(p);
    if (is_op(p, "{"))
        return dict(p);
    return fail(p, "unexpected '%s'", describe(p));
}

static jnode *slice_or_item(struct parser *p)
{
    jnode *parts[3] = { NULL }, *n = node(p, N_SLICE);
    int at = 0;
    if (!is_op(p, ":")) {
        parts[0] = expression(p);
        if (!is_op(p, ":"))
            return parts[0];
    }
    while (at < 2 && skip_op(p, ":")) {
        at++;
        if (!is_op(p, ":") && !is_op(p, "]") && !is_op(p, ","))
            parts[at] = expression(p);
    }
    n->a = parts[0];
    n->b = parts[1];
    n->c = parts[2];
    return p->failed ? NULL : n;
}

static jnode *subscript(struct parser *p, jnode *of)
{
    jnode *n = node(p, N_GETATTR);
    n->a = of;
    if (skip_op(p, ".")) {
        if (p->t->kind == T_NAME) {
            n->name = p->t->text;
            next(p);
            return n;
        }
        if (p->t->kind != T_INTEGER)
            return fail(p, "expected name or number");
        n->kind = N_GETITEM;
        n->b = integer(p);
        return n;
    }
    next(p);
    n->kind = N_GETITEM;
    n->b = slice_or_item(p);
    if (is_op(p, ",")) {
        jnode *t = node(p, N_TUPLE), **at = &t->first;
        for (jnode *item = n->b; item; item = skip_op(p, ",") && !is_op(p, "]") ? slice_or_item(p) : NULL) {
            *at = item;
            at = &item->next;
        }
        n->b = t;
    }
    expect_op(p, "]");
    return p->failed ? NULL : n;
}

/* "(" arguments ")" onto n->first. */
static void arguments(struct parser *p, jnode *n)
{
    jnode **at = &n->first;
    bool named = false, any = false;
    expect_op(p, "(");
    while (!p->failed && !is_op(p, ")")) {
        if (any)
            expect_op(p, ",");
        if (is_op(p, ")"))
            break;
        any = true;
        jnode *item;
        if (is_op(p, "*") || is_op(p, "**")) {
            item = node(p, is_op(p, "*") ? N_SPREAD : N_SPREAD_NAMED);
            named |= item->kind == N_SPREAD_NAMED;
            next(p);
            item->a = expression(p);
        } else if (p->t->kind == T_NAME && p->t[1].kind == T_OPERATOR && nc_str_eqz(p->t[1].text, "=")) {
            item = node(p, N_KEYWORD);
            item->name = p->t->text;
            next(p);
            next(p);
            item->a = expression(p);
            named = true;
        } else {
            if (named)
                fail(p, "invalid syntax for function call expression");
            item = expression(p);
        }
        if (p->failed || !item)
            return;
        *at = item;
        at = &item->next;
    }
    expect_op(p, ")");
}

static nc_str dotted_name(struct parser *p)
{
    nc_str name = expect_name(p);
    while (!p->failed && is_op(p, ".")) {
        next(p);
        nc_str more = expect_name(p);
        if (!p->failed)
            name = nc_str_of(nc_arena_printf(p->arena, "%.*s.%.*s", (int)name.n, name.p, (int)more.n, more.p));
    }
    return name;
}

static jnode *filter(struct parser *p, jnode *subject)
{
    jnode *n = node(p, N_FILTER);
    n->a = subject;
    n->name = dotted_name(p);
    if (!p->failed && !p->soft && !jfilter_find(n->name))
        return fail_as(p, "TemplateAssertionError", "No filter named '%.*s'.", (int)n->name.n, n->name.p);
    if (is_op(p, "("))
        arguments(p, n);
    return p->failed ? NULL : n;
}

static jnode *postfix(struct parser *p, jnode *n)
{
    while (n && !p->failed) {
        if (is_op(p, ".") || is_op(p, "[")) {
            n = subscript(p, n);
        } else if (is_op(p, "(")) {
            jnode *call = node(p, N_CALL);
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
    jnode *n = node(p, N_TEST);
    n->a = subject;
    next(p);
    n->flag = skip_word(p, "not");
    n->name = dotted_name(p);
    if (!p->failed && !p->soft && !jtest_find(n->name))
        return fail_as(p, "TemplateAssertionError", "No test named '%.*s'.", (int)n->name.n, n->name.p);
    if (is_op(p, "(")) {
        arguments(p, n);
    } else if (!p->failed && (p->t->kind == T_STRING || p->t->kind == T_INTEGER || p->t->kind == T_FLOAT || is_op(p, "[") || is_op(p, "{") ||
               (p->t->kind == T_NAME && !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and")))) {
        if (is_word(p, "is"))
            return fail(p, "You cannot chain multiple tests with is");
        n->first = postfix(p, primary(p));
    }
    return p->failed ? NULL : n;
}

static jnode *filters(struct parser *p, jnode *n)
{
    while (n && !p->failed) {
        if (skip_op(p, "|")) {
            n = filter(p, n);
        } else if (is_word(p, "is")) {
            n = test(p, n);
        } else if (is_op(p, "(")) {
            jnode *call = node(p, N_CALL);
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
    if (!deeper(p))
        return NULL;
    if (is_op(p, "-") || is_op(p, "+")) {
        n = node(p, N_UNARY);
        n->op = is_op(p, "-") ? OP_NEG : OP_POS;
        next(p);
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
            if (is_op(p, spelling[i]))
                hit = i;
        if (hit < 0)
            break;
        jnode *n = node(p, N_BINARY);
        next(p);
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
    if (!left || !is_op(p, "~"))
        return left;
    jnode *n = node(p, N_CONCAT), **at;
    n->first = left;
    at = &left->next;
    while (!p->failed && skip_op(p, "~")) {
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
        if (skip_op(p, s[i]))
            return op[i];
    if (skip_word(p, "in"))
        return OP_IN;
    if (is_word(p, "not") && p->t[1].kind == T_NAME && nc_str_eqz(p->t[1].text, "in")) {
        next(p);
        next(p);
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
            n = node(p, N_COMPARE);
            n->a = left;
            at = &n->first;
        }
        jnode *right = node(p, N_BINARY);
        right->op = op;
        right->a = sum(p);
        *at = right;
        at = &right->next;
    }
    return p->failed ? NULL : n ? n : left;
}

static jnode *negation(struct parser *p)
{
    if (!is_word(p, "not"))
        return compare(p);
    if (!deeper(p))
        return NULL;
    jnode *n = node(p, N_NOT);
    next(p);
    n->a = negation(p);
    p->depth--;
    return p->failed ? NULL : n;
}

static jnode *logic(struct parser *p, const char *word, jkind kind, jnode *operand(struct parser *))
{
    jnode *left = operand(p);
    while (left && !p->failed && skip_word(p, word)) {
        jnode *n = node(p, kind);
        n->a = left;
        n->b = operand(p);
        left = n;
    }
    return p->failed ? NULL : left;
}

static jnode *conjunction(struct parser *p) { return logic(p, "and", N_AND, negation); }
static jnode *condition_free(struct parser *p) { return logic(p, "or", N_OR, conjunction); }

static jnode *expression(struct parser *p)
{
    if (!deeper(p))
        return NULL;
    bool soft = p->soft;
    jnode *then = condition_free(p);
    while (then && !p->failed && skip_word(p, "if")) {
        jnode *n = node(p, N_IF_EXPRESSION);
        p->soft = true;
        n->a = condition_free(p);
        n->b = then;
        n->c = !p->failed && skip_word(p, "else") ? expression(p) : NULL;
        p->soft = soft;
        then = n;
    }
    p->depth--;
    return p->failed ? NULL : then;
}

/* Statements. */

static void end_of_statement(struct parser *p)
{
    if (!p->failed)
        expect_kind(p, T_BLOCK_END, "end of statement block");
}

static jnode *assign_target(struct parser *p, bool with_namespace)
{
    if (with_namespace && p->t->kind == T_NAME && p->t[1].kind == T_OPERATOR && nc_str_eqz(p->t[1].text, ".")) {
        jnode *n = node(p, N_GETATTR);
        n->a = name_or_constant(p);
        next(p);
        n->name = expect_name(p);
        return p->failed ? NULL : n;
    }
    jnode *t = node(p, N_TUPLE), **at = &t->first;
    bool comma = false, parentheses = skip_op(p, "(");
    while (!p->failed) {
        jnode *n = node(p, N_NAME);
        n->name = expect_name(p);
        if (!p->failed && (nc_str_eqz(n->name, "true") || nc_str_eqz(n->name, "false") || nc_str_eqz(n->name, "none")))
            fail(p, "can't assign to '%.*s'", (int)n->name.n, n->name.p);
        *at = n;
        at = &n->next;
        if (!skip_op(p, ","))
            break;
        comma = true;
        if (p->t->kind != T_NAME || is_word(p, "in"))
            break;
    }
    if (parentheses)
        expect_op(p, ")");
    return p->failed ? NULL : comma ? t : t->first;
}

static jnode *parse_for(struct parser *p)
{
    jnode *n = node(p, N_FOR);
    nc_str end;
    n->a = assign_target(p, false);
    if (!p->failed && !skip_word(p, "in"))
        expected(p, "in");
    n->b = p->failed ? NULL : tuple(p, false, false, false);
    if (!p->failed && skip_word(p, "if"))
        n->c = expression(p);
    n->flag = !p->failed && skip_word(p, "recursive");
    end_of_statement(p);
    bool soft = p->soft;
    p->soft = false;
    n->first = body(p, "for", "endfor|else", &end);
    if (!p->failed && nc_str_eqz(end, "else")) {
        end_of_statement(p);
        n->d = body(p, "for", "endfor", &end);
    }
    p->soft = soft;
    return n;
}

static jnode *parse_if(struct parser *p)
{
    jnode *top = NULL, **at = &top;
    bool soft = p->soft;
    nc_str end = NC_STR("elif");
    while (!p->failed && nc_str_eqz(end, "elif")) {
        jnode *n = node(p, N_IF);
        p->soft = true;
        n->a = tuple(p, false, false, false);
        end_of_statement(p);
        n->first = body(p, "if", "elif|else|endif", &end);
        *at = n;
        at = &n->d;
    }
    if (!p->failed && nc_str_eqz(end, "else")) {
        end_of_statement(p);
        *at = body(p, "if", "endif", &end);
    }
    p->soft = soft;
    return top;
}

static jnode *parse_set(struct parser *p)
{
    jnode *n = node(p, N_SET);
    nc_str end;
    n->a = assign_target(p, true);
    if (p->failed)
        return NULL;
    if (skip_op(p, "=")) {
        n->b = tuple(p, false, true, false);
        return n;
    }
    n->kind = N_SET_BLOCK;
    while (!p->failed && skip_op(p, "|"))
        n->b = filter(p, n->b);
    end_of_statement(p);
    n->first = body(p, "set", "endset", &end);
    return n;
}

static jnode *parameters(struct parser *p)
{
    jnode *first = NULL, **at = &first;
    expect_op(p, "(");
    while (!p->failed && !is_op(p, ")")) {
        if (first)
            expect_op(p, ",");
        jnode *n = node(p, N_NAME);
        n->name = expect_name(p);
        if (!p->failed && skip_op(p, "="))
            n->a = expression(p);
        *at = n;
        at = &n->next;
    }
    expect_op(p, ")");
    return first;
}

static jnode *parse_macro(struct parser *p)
{
    jnode *n = node(p, N_MACRO);
    nc_str end;
    n->name = expect_name(p);
    n->b = p->failed ? NULL : parameters(p);
    end_of_statement(p);
    bool soft = p->soft;
    p->soft = false;
    n->first = body(p, "macro", "endmacro", &end);
    p->soft = soft;
    return n;
}

static jnode *parse_call(struct parser *p)
{
    jnode *n = node(p, N_CALL_BLOCK);
    nc_str end;
    if (is_op(p, "("))
        n->b = parameters(p);
    n->a = p->failed ? NULL : expression(p);
    if (!p->failed && n->a->kind != N_CALL)
        return fail(p, "expected call");
    end_of_statement(p);
    n->first = body(p, "call", "endcall", &end);
    return n;
}

static jnode *parse_filter_block(struct parser *p)
{
    jnode *n = node(p, N_FILTER_BLOCK);
    nc_str end;
    do
        n->b = filter(p, n->b);
    while (!p->failed && skip_op(p, "|"));
    end_of_statement(p);
    n->first = body(p, "filter", "endfilter", &end);
    return n;
}

static jnode *parse_with(struct parser *p)
{
    jnode *n = node(p, N_WITH), **at = &n->a;
    nc_str end;
    while (!p->failed && p->t->kind != T_BLOCK_END) {
        if (n->a)
            expect_op(p, ",");
        jnode *set = node(p, N_SET);
        set->a = assign_target(p, false);
        expect_op(p, "=");
        set->b = p->failed ? NULL : expression(p);
        *at = set;
        at = &set->next;
    }
    end_of_statement(p);
    n->first = body(p, "with", "endwith", &end);
    return n;
}

static jnode *parse_block(struct parser *p, jkind kind)
{
    jnode *n = node(p, kind);
    nc_str end;
    if (kind == N_BLOCK) {
        n->name = expect_name(p);
        skip_word(p, "scoped");
        skip_word(p, "required");
    }
    end_of_statement(p);
    n->first = body(p, kind == N_BLOCK ? "block" : "generation", kind == N_BLOCK ? "endblock" : "endgeneration", &end);
    if (kind == N_BLOCK && !p->failed)
        skip_word(p, "endblock");
    if (kind == N_BLOCK && !p->failed && p->t->kind == T_NAME)
        next(p);
    p->has_generation |= kind == N_GENERATION;
    return n;
}

static jnode *parse_print(struct parser *p)
{
    jnode *n = node(p, N_PRINT), **at = &n->first;
    do {
        *at = expression(p);
        if (p->failed)
            return NULL;
        at = &(*at)->next;
    } while (skip_op(p, ","));
    return n;
}

/* include, import, extends: there is no loader; the error comes when the statement is reached. */
static jnode *parse_loader(struct parser *p)
{
    jnode *n = node(p, N_NO_LOADER);
    while (p->t->kind != T_BLOCK_END && p->t->kind != T_END)
        next(p);
    return n;
}

static bool in_list(const char *ends, nc_str word)
{
    for (const char *at = ends; at && *at;) {
        const char *bar = strchr(at, '|');
        size_t n = bar ? (size_t)(bar - at) : strlen(at);
        if (n == word.n && !memcmp(at, word.p, n))
            return true;
        at = bar ? bar + 1 : NULL;
    }
    return false;
}

/* An unknown tag, or the end of the template inside blocks; the sentence is Jinja's. */
static jnode *lost(struct parser *p, nc_str tag, bool at_end)
{
    nc_buf b = { 0 };
    bool nesting = false;
    if (at_end)
        nc_buf_adds(&b, "Unexpected end of template.");
    else
        nc_buf_printf(&b, "Encountered unknown tag '%.*s'.", (int)(tag.n < 100 ? tag.n : 100), tag.p);
    for (int i = 0; i < p->open_count; i++)
        nesting |= in_list(p->ends[i], tag);
    if (p->open_count) {
        nc_buf_adds(&b, nesting && !at_end ? " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for '"
                                           : " Jinja was looking for the following tags: '");
        for (const char *c = p->ends[p->open_count - 1]; *c; c++) {
            if (*c == '|')
                nc_buf_adds(&b, "' or '");
            else
                nc_buf_addc(&b, *c);
        }
        nc_buf_printf(&b, "'. The innermost block that needs to be closed is '%s'.", p->open[p->open_count - 1]);
    }
    fail(p, "%s", b.p);
    nc_buf_free(&b);
    return NULL;
}

static jnode *statement(struct parser *p)
{
    static const struct { const char *word; jnode *(*parse)(struct parser *); } table[] = {
        { "for", parse_for }, { "if", parse_if }, { "set", parse_set }, { "macro", parse_macro }, { "call", parse_call },
        { "filter", parse_filter_block }, { "with", parse_with }, { "print", parse_print }, { "include", parse_loader },
        { "import", parse_loader }, { "from", parse_loader }, { "extends", parse_loader },
    };
    nc_str word = p->t->text;
    jnode *n = NULL;
    if (p->t->kind != T_NAME)
        return fail(p, "tag name expected");
    for (int i = 0; i < NC_COUNT(table); i++) {
        if (!is_word(p, table[i].word))
            continue;
        next(p);
        n = table[i].parse(p);
        end_of_statement(p);
        return n;
    }
    if (is_word(p, "block") || is_word(p, "generation")) {
        jkind kind = is_word(p, "block") ? N_BLOCK : N_GENERATION;
        next(p);
        n = parse_block(p, kind);
    } else if (is_word(p, "break") || is_word(p, "continue")) {
        n = node(p, is_word(p, "break") ? N_BREAK : N_CONTINUE);
        next(p);
    } else {
        return lost(p, word, false);
    }
    end_of_statement(p);
    return n;
}

static jnode *print(struct parser *p)
{
    next(p);
    jnode *n = node(p, N_PRINT);
    n->first = tuple(p, false, true, false);
    if (!p->failed)
        expect_kind(p, T_PRINT_END, "end of print statement");
    return n;
}

/* Statements up to one of the tags in ends (a|b), which is consumed but for its block end; ends NULL: to the end of the template. */
static jnode *body(struct parser *p, const char *name, const char *ends, nc_str *found)
{
    jnode *first = NULL, **at = &first;
    if (!deeper(p))
        return NULL;
    if (ends) {
        p->open[p->open_count] = name;
        p->ends[p->open_count++] = ends;
    }
    while (!p->failed) {
        jnode *n = NULL;
        if (p->t->kind == T_END) {
            if (ends)
                lost(p, NC_STR(""), true);
            break;
        }
        if (p->t->kind == T_TEXT) {
            n = node(p, N_TEXT);
            n->name = p->t->text;
            next(p);
        } else if (p->t->kind == T_PRINT_BEGIN) {
            n = print(p);
        } else {
            next(p);
            if (p->t->kind == T_NAME && in_list(ends, p->t->text)) {
                *found = p->t->text;
                next(p);
                break;
            }
            n = statement(p);
        }
        if (p->failed || !n)
            break;
        *at = n;
        at = &n->next;
    }
    p->open_count -= ends != NULL;
    p->depth--;
    return first;
}

int jinja_parse(nc_arena *a, nc_str source, jnode **out, bool *has_generation, nc_error *e)
{
    struct parser p = { .arena = a, .e = e };
    jtoken *tokens;
    size_t count;
    NC_TRY(jinja_lex(a, source, &tokens, &count, e));
    p.t = tokens;
    *out = body(&p, NULL, NULL, NULL);
    *has_generation = p.has_generation;
    return p.failed ? NC_EFORMAT : NC_OK;
}
