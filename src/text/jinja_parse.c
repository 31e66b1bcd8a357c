/* jinja_parse.c - statements of a template to a syntax tree, by Jinja 3.1's grammar (parser.py).
 *
 * Parts of nodes: FOR a target, b iterable, c condition, first body, d else. IF a test, first body, d else (an IF for elif). SET a target, b value.
 * SET_BLOCK a target, b filter chain, first body. MACRO and CALL_BLOCK: b parameters (NAME with default in a), CALL_BLOCK a call. FILTER_BLOCK b chain.
 * WITH a list of SET.
 */
#include <string.h>

#include "text/jinja_parse.h"

static jnode *body(struct parser *p, const char *name, const char *ends, nc_str *found);

static void end_of_statement(struct parser *p)
{
    if (!p->failed)
        nc_jparse_expect_kind(p, T_BLOCK_END, "end of statement block");
}

static jnode *assign_target(struct parser *p, bool with_namespace)
{
    if (with_namespace && p->t->kind == T_NAME && p->t[1].kind == T_OPERATOR && nc_str_eqz(p->t[1].text, ".")) {
        jnode *n = nc_jparse_node(p, N_GETATTR);
        n->a = nc_jparse_node(p, N_NAME);
        n->a->name = p->t->text;
        nc_jparse_next(p);
        nc_jparse_next(p);
        n->name = nc_jparse_expect_name(p);
        return p->failed ? NULL : n;
    }
    jnode *t = nc_jparse_node(p, N_TUPLE), **at = &t->first;
    bool comma = false, parentheses = nc_jparse_skip_op(p, "(");
    while (!p->failed) {
        jnode *n = nc_jparse_node(p, N_NAME);
        n->name = nc_jparse_expect_name(p);
        if (!p->failed && (nc_str_eqz(n->name, "true") || nc_str_eqz(n->name, "false") || nc_str_eqz(n->name, "none")))
            fail(p, "can't assign to '%.*s'", (int)n->name.n, n->name.p);
        *at = n;
        at = &n->next;
        if (!nc_jparse_skip_op(p, ","))
            break;
        comma = true;
        if (p->t->kind != T_NAME || nc_jparse_is_word(p, "in"))
            break;
    }
    if (parentheses)
        nc_jparse_expect_op(p, ")");
    return p->failed ? NULL : comma ? t : t->first;
}

static jnode *parse_for(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_FOR);
    nc_str end;
    n->a = assign_target(p, false);
    if (!p->failed && !nc_jparse_skip_word(p, "in"))
        nc_jparse_expected(p, "in");
    n->b = p->failed ? NULL : nc_jparse_tuple(p, false, false, false);
    if (!p->failed && nc_jparse_skip_word(p, "if"))
        n->c = nc_jparse_expression(p);
    n->flag = !p->failed && nc_jparse_skip_word(p, "recursive");
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
        jnode *n = nc_jparse_node(p, N_IF);
        p->soft = true;
        n->a = nc_jparse_tuple(p, false, false, false);
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
    jnode *n = nc_jparse_node(p, N_SET);
    nc_str end;
    n->a = assign_target(p, true);
    if (p->failed)
        return NULL;
    if (nc_jparse_skip_op(p, "=")) {
        n->b = nc_jparse_tuple(p, false, true, false);
        return n;
    }
    n->kind = N_SET_BLOCK;
    while (!p->failed && nc_jparse_skip_op(p, "|"))
        n->b = nc_jparse_filter(p, n->b);
    end_of_statement(p);
    n->first = body(p, "set", "endset", &end);
    return n;
}

static jnode *parameters(struct parser *p)
{
    jnode *first = NULL, **at = &first;
    nc_jparse_expect_op(p, "(");
    while (!p->failed && !nc_jparse_is_op(p, ")")) {
        if (first)
            nc_jparse_expect_op(p, ",");
        jnode *n = nc_jparse_node(p, N_NAME);
        n->name = nc_jparse_expect_name(p);
        if (!p->failed && nc_jparse_skip_op(p, "="))
            n->a = nc_jparse_expression(p);
        *at = n;
        at = &n->next;
    }
    nc_jparse_expect_op(p, ")");
    return first;
}

static jnode *parse_macro(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_MACRO);
    nc_str end;
    n->name = nc_jparse_expect_name(p);
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
    jnode *n = nc_jparse_node(p, N_CALL_BLOCK);
    nc_str end;
    if (nc_jparse_is_op(p, "("))
        n->b = parameters(p);
    n->a = p->failed ? NULL : nc_jparse_expression(p);
    if (!p->failed && n->a->kind != N_CALL)
        return fail(p, "expected call");
    end_of_statement(p);
    n->first = body(p, "call", "endcall", &end);
    return n;
}

static jnode *parse_filter_block(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_FILTER_BLOCK);
    nc_str end;
    do
        n->b = nc_jparse_filter(p, n->b);
    while (!p->failed && nc_jparse_skip_op(p, "|"));
    end_of_statement(p);
    n->first = body(p, "filter", "endfilter", &end);
    return n;
}

static jnode *parse_with(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_WITH), **at = &n->a;
    nc_str end;
    while (!p->failed && p->t->kind != T_BLOCK_END) {
        if (n->a)
            nc_jparse_expect_op(p, ",");
        jnode *set = nc_jparse_node(p, N_SET);
        set->a = assign_target(p, false);
        nc_jparse_expect_op(p, "=");
        set->b = p->failed ? NULL : nc_jparse_expression(p);
        *at = set;
        at = &set->next;
    }
    end_of_statement(p);
    n->first = body(p, "with", "endwith", &end);
    return n;
}

static jnode *parse_block(struct parser *p, jkind kind)
{
    jnode *n = nc_jparse_node(p, kind);
    nc_str end;
    if (kind == N_BLOCK) {
        n->name = nc_jparse_expect_name(p);
        nc_jparse_skip_word(p, "scoped");
        nc_jparse_skip_word(p, "required");
    }
    end_of_statement(p);
    n->first = body(p, kind == N_BLOCK ? "block" : "generation", kind == N_BLOCK ? "endblock" : "endgeneration", &end);
    if (kind == N_BLOCK && !p->failed)
        nc_jparse_skip_word(p, "endblock");
    if (kind == N_BLOCK && !p->failed && p->t->kind == T_NAME)
        nc_jparse_next(p);
    p->has_generation |= kind == N_GENERATION;
    return n;
}

static jnode *parse_print(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_PRINT), **at = &n->first;
    do {
        *at = nc_jparse_expression(p);
        if (p->failed)
            return NULL;
        at = &(*at)->next;
    } while (nc_jparse_skip_op(p, ","));
    return n;
}

/* include, import, extends: there is no loader; the error comes when the statement is reached. */
static jnode *parse_loader(struct parser *p)
{
    jnode *n = nc_jparse_node(p, N_NO_LOADER);
    while (p->t->kind != T_BLOCK_END && p->t->kind != T_END)
        nc_jparse_next(p);
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
        if (!nc_jparse_is_word(p, table[i].word))
            continue;
        nc_jparse_next(p);
        n = table[i].parse(p);
        end_of_statement(p);
        return n;
    }
    if (nc_jparse_is_word(p, "block") || nc_jparse_is_word(p, "generation")) {
        jkind kind = nc_jparse_is_word(p, "block") ? N_BLOCK : N_GENERATION;
        nc_jparse_next(p);
        n = parse_block(p, kind);
    } else if (nc_jparse_is_word(p, "break") || nc_jparse_is_word(p, "continue")) {
        n = nc_jparse_node(p, nc_jparse_is_word(p, "break") ? N_BREAK : N_CONTINUE);
        nc_jparse_next(p);
    } else {
        return lost(p, word, false);
    }
    end_of_statement(p);
    return n;
}

static jnode *print(struct parser *p)
{
    nc_jparse_next(p);
    jnode *n = nc_jparse_node(p, N_PRINT);
    n->first = nc_jparse_tuple(p, false, true, false);
    if (!p->failed)
        nc_jparse_expect_kind(p, T_PRINT_END, "end of print statement");
    return n;
}

/* Statements up to one of the tags in ends (a|b), which is consumed but for its block end; ends NULL: to the end of the template. */
static jnode *body(struct parser *p, const char *name, const char *ends, nc_str *found)
{
    jnode *first = NULL, **at = &first;
    if (!nc_jparse_deeper(p))
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
            n = nc_jparse_node(p, N_TEXT);
            n->name = p->t->text;
            nc_jparse_next(p);
        } else if (p->t->kind == T_PRINT_BEGIN) {
            n = print(p);
        } else {
            nc_jparse_next(p);
            if (p->t->kind == T_NAME && in_list(ends, p->t->text)) {
                *found = p->t->text;
                nc_jparse_next(p);
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

int nc_jinja_parse(nc_arena *a, nc_str source, jnode **out, bool *has_generation, nc_error *e)
{
    struct parser p = { .arena = a, .e = e };
    jtoken *tokens;
    size_t count;
    NC_TRY(nc_jinja_lex(a, source, &tokens, &count, e));
    p.t = tokens;
    *out = body(&p, NULL, NULL, NULL);
    *has_generation = p.has_generation;
    return p.failed ? NC_EFORMAT : NC_OK;
}
