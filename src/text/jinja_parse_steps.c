/* jinja_parse_steps.c - the parser's elementary steps: looking at a token, passing it, complaining with Jinja's words. */
#include "text/jinja_parse.h"

jnode *nc_jparse_fail(struct parser *p, const char *class, const char *format, ...)
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
jnode *nc_jparse_node(struct parser *p, jkind kind)
{
    jnode *n = NC_NEW(p->arena, jnode);
    n->kind = kind;
    n->line = p->t->line;
    return n;
}

bool nc_jparse_is_op(const struct parser *p, const char *op)
{
    return p->t->kind == T_OPERATOR && nc_str_eqz(p->t->text, op);
}

bool nc_jparse_is_word(const struct parser *p, const char *word)
{
    return p->t->kind == T_NAME && nc_str_eqz(p->t->text, word);
}

void nc_jparse_next(struct parser *p)
{
    if (p->t->kind != T_END)
        p->t++;
}

bool nc_jparse_skip_op(struct parser *p, const char *op)
{
    bool hit = nc_jparse_is_op(p, op);
    if (hit)
        nc_jparse_next(p);
    return hit;
}

bool nc_jparse_skip_word(struct parser *p, const char *word)
{
    bool hit = nc_jparse_is_word(p, word);
    if (hit)
        nc_jparse_next(p);
    return hit;
}

const char *nc_jparse_describe(struct parser *p)
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

void nc_jparse_expected(struct parser *p, const char *what)
{
    if (p->t->kind == T_END)
        fail(p, "unexpected end of template, expected '%s'.", what);
    else
        fail(p, "expected token '%s', got '%s'", what, nc_jparse_describe(p));
}

void nc_jparse_expect_op(struct parser *p, const char *op)
{
    if (!nc_jparse_skip_op(p, op))
        nc_jparse_expected(p, op);
}

void nc_jparse_expect_kind(struct parser *p, jtoken_kind kind, const char *what)
{
    if (p->t->kind != kind)
        nc_jparse_expected(p, what);
    else
        nc_jparse_next(p);
}

nc_str nc_jparse_expect_name(struct parser *p)
{
    nc_str name = p->t->text;
    nc_jparse_expect_kind(p, T_NAME, "name");
    return name;
}

bool nc_jparse_deeper(struct parser *p)
{
    if (p->depth >= J_DEPTH) {
        fail(p, "nested deeper than %d", J_DEPTH);
        return false;
    }
    p->depth++;
    return !p->failed;
}
