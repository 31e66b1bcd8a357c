/* jinja_parse.h - the parser's state and its steps that both halves use: expressions (jinja_parse_expression.c) and statements (jinja_parse.c). */
#ifndef NC_TEXT_JINJA_PARSE_H
#define NC_TEXT_JINJA_PARSE_H
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

/* The first error is kept; NULL always. */
jnode *nc_jparse_fail(struct parser *p, const char *class, const char *format, ...) NC_PRINTF(3, 4);
#define fail(p, ...) nc_jparse_fail(p, "TemplateSyntaxError", __VA_ARGS__)
jnode *nc_jparse_node(struct parser *p, jkind kind);
bool nc_jparse_is_op(const struct parser *p, const char *op);
bool nc_jparse_is_word(const struct parser *p, const char *word);
void nc_jparse_next(struct parser *p);
bool nc_jparse_skip_op(struct parser *p, const char *op);
bool nc_jparse_skip_word(struct parser *p, const char *word);
const char *nc_jparse_describe(struct parser *p);
void nc_jparse_expected(struct parser *p, const char *what);
void nc_jparse_expect_op(struct parser *p, const char *op);
void nc_jparse_expect_kind(struct parser *p, jtoken_kind kind, const char *what);
nc_str nc_jparse_expect_name(struct parser *p);
bool nc_jparse_deeper(struct parser *p);                    /* pairs with p->depth-- when true */

jnode *nc_jparse_expression(struct parser *p);
/* a, b, ... is a tuple, a alone is itself. explicit: inside parentheses, where nothing at all is the empty tuple. conditions false: as in `for x in a if ..`. */
jnode *nc_jparse_tuple(struct parser *p, bool explicit, bool conditions, bool until_in);
jnode *nc_jparse_filter(struct parser *p, jnode *subject);  /* the name behind "|" and its arguments */
#endif
