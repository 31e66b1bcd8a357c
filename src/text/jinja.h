/* jinja.h - what the files of the template interpreter share: values, syntax tree, the state of one rendering.
 *
 * Values and everything they point to live in the rendering's arena; lists and dicts made by the template are never changed after they are made (the sandbox is immutable),
 * so they are shared freely. The first error is kept in the state and everything after it is a no-op that returns undefined.
 */
#ifndef NC_TEXT_JINJA_H
#define NC_TEXT_JINJA_H
#include "base/json.h"
#include "text/template.h"

typedef __int128 nc_int;

typedef enum jtype {
    J_UNDEFINED, J_NONE, J_BOOL, J_INT, J_BIG, J_FLOAT, J_STRING, J_LIST, J_TUPLE, J_DICT, J_RANGE, J_VIEW, J_ITERATOR,
    J_NAMESPACE, J_FUNCTION, J_METHOD, J_MACRO, J_LOOP, J_CYCLER, J_JOINER, J_BLOCK, J_SELF,
} jtype;

typedef struct jvalue jvalue;
typedef struct jlist { jvalue *p; int n, capacity; const char *kind; bool used; } jlist;  /* kind: class name of views and iterators */
typedef struct jpair jpair;
typedef struct jdict { jpair *p; int n, capacity; } jdict;
typedef struct jmissing { const char *error; nc_str message; } jmissing;     /* why a value is undefined: exception class and text */
typedef struct jrange { nc_int start, stop, step; int64_t n; } jrange;
typedef struct jnode jnode;
typedef struct jstate jstate;
typedef struct jmethod jmethod;
typedef struct jmacro jmacro;
typedef struct jloop jloop;
typedef struct jfunction jfunction;
typedef struct jcycler { jlist *items; int at; } jcycler;

struct jvalue {
    jtype type;
    bool markup;            /* a string marked as safe: what is added to it is escaped */
    union {
        bool b;
        nc_int i;
        double f;
        nc_str s;           /* J_STRING, and J_BIG's digits */
        jlist *list;        /* list, tuple, view, iterator */
        jdict *dict;        /* dict, namespace */
        jrange *range;
        jmissing *missing;
        const jfunction *function;
        jmethod *method;
        jmacro *macro;
        jloop *loop;
        jcycler *cycler;    /* also joiner: items holds the separator */
        const jnode *block;
    };
};
struct jpair { jvalue key, value; };

typedef struct jcall {              /* the arguments of a call */
    jvalue *args;
    int n;
    jpair *named;                   /* keys are strings */
    int named_n;
} jcall;

struct jmethod { jvalue self; nc_str name; };
struct jfunction { const char *name; jvalue (*run)(jstate *s, const jcall *c); };
typedef struct jscope jscope;
struct jscope { jscope *parent; jpair *vars; int n, capacity; };
struct jmacro { nc_str name; const jnode *node; jscope *scope; bool is_caller; };
struct jloop {
    jlist *items;
    int at, depth;
    const jnode *node;              /* of a recursive loop */
    jscope *scope;
    jvalue *changed;
    jloop *outer;
};

typedef enum jkind {
    /* expressions */
    N_CONST, N_NAME, N_LIST, N_TUPLE, N_DICT, N_PAIR, N_GETATTR, N_GETITEM, N_SLICE, N_CALL, N_FILTER, N_TEST, N_UNARY, N_BINARY, N_AND, N_OR,
    N_NOT, N_COMPARE, N_CONCAT, N_IF_EXPRESSION, N_KEYWORD, N_SPREAD, N_SPREAD_NAMED,
    /* statements */
    N_TEXT, N_PRINT, N_FOR, N_IF, N_SET, N_SET_BLOCK, N_MACRO, N_CALL_BLOCK, N_FILTER_BLOCK, N_WITH, N_BLOCK, N_GENERATION, N_BREAK, N_CONTINUE, N_NO_LOADER,
} jkind;

/* a, b, c, d: parts by kind (jinja_parse.c says which); first: children in order, linked by next. */
struct jnode {
    jkind kind;
    int line, op;
    nc_str name;
    jvalue value;
    jnode *a, *b, *c, *d, *first, *next;
    bool flag;
};

enum { OP_ADD = 1, OP_SUB, OP_MUL, OP_DIV, OP_FLOOR, OP_MOD, OP_POW, OP_NEG, OP_POS, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_IN, OP_NOT_IN };

struct nc_template {
    nc_arena *arena;
    jnode *body;                /* first child .. */
    bool has_generation;
};

struct jstate {
    const nc_template *t;
    nc_arena *arena;
    nc_error *error;
    bool failed;
    nc_buf *out;
    nc_buf *top;                /* the real output: spans are noted only when out is it */
    nc_template_spans *spans;
    jscope *scope, *globals;
    nc_template_limits limits;
    int64_t steps;
    size_t made;                /* bytes of strings made */
    int depth;
    jloop *loop;
};

#define J_DEPTH 150             /* nesting of syntax, values and calls */

/* errors and limits */
jvalue nc_jfail(jstate *s, const char *error, const char *format, ...) NC_PRINTF(3, 4);
bool nc_jstep(jstate *s, int64_t steps);            /* false once failed or out of steps */
bool nc_jdeeper(jstate *s);                         /* pairs with s->depth-- when true */

/* jinja_value.c */
static inline jvalue jnone(void) { return (jvalue){ .type = J_NONE }; }
static inline jvalue jbool(bool b) { return (jvalue){ .type = J_BOOL, .b = b }; }
static inline jvalue jint(nc_int i) { return (jvalue){ .type = J_INT, .i = i }; }
static inline jvalue jfloat(double f) { return (jvalue){ .type = J_FLOAT, .f = f }; }
static inline jvalue jstr(nc_str s) { return (jvalue){ .type = J_STRING, .s = s }; }
static inline jvalue jundefined(void) { return (jvalue){ .type = J_UNDEFINED }; }
static inline bool jis_number(jvalue v) { return v.type == J_BOOL || v.type == J_INT || v.type == J_FLOAT; }
static inline bool jis_integer(jvalue v) { return v.type == J_BOOL || v.type == J_INT; }
static inline nc_int jas_int(jvalue v) { return v.type == J_BOOL ? v.b : v.i; }
double nc_jas_double(jvalue v);
jvalue nc_jmissing_of(jstate *s, const char *error, const char *format, ...) NC_PRINTF(3, 4);
jvalue nc_jundefined_fail(jstate *s, jvalue v);     /* raises what using an undefined value raises */
jvalue nc_jcopy(jstate *s, const char *p, size_t n);            /* a new string */
jvalue nc_jescaped(jstate *s, jvalue v);           /* & < > ' " escaped unless it is markup; the result is */
jvalue nc_jbuf(jstate *s, nc_buf *b);               /* the buffer's text as a string; frees the buffer */
jvalue nc_jlist_new(jstate *s, jtype type, const char *kind);
void nc_jlist_add(jstate *s, jlist *l, jvalue v);
jvalue nc_jdict_new(jstate *s);
void nc_jdict_set(jstate *s, jdict *d, jvalue key, jvalue value);
const jvalue *nc_jdict_get(jstate *s, const jdict *d, jvalue key);
jvalue nc_jfrom_json(jstate *s, const nc_json *v);
const char *nc_jtype_name(jvalue v);                /* Python's class name */
const char *nc_jobject_name(jstate *s, jvalue v);   /* "dict object", "None" */
bool nc_jtruth(jvalue v);
void nc_jrepr(jstate *s, nc_buf *b, jvalue v);
void nc_jprint(jstate *s, nc_buf *b, jvalue v);     /* Python's str() */
nc_str nc_jtext(jstate *s, jvalue v);
void nc_jfloat_repr(nc_buf *b, double f);
void nc_jint_repr(nc_buf *b, nc_int i);
bool nc_jequal(jstate *s, jvalue a, jvalue b);
int nc_jcompare(jstate *s, jvalue a, jvalue b, const char *op);    /* -1, 0, 1; fails for types without order; 2 for NaN */
int64_t nc_jlength(jstate *s, jvalue v);            /* fails for what has none */
/* The items of anything iterable as a list (an iterator is used up); NULL after failing. */
jlist *nc_jiterate(jstate *s, jvalue v);
size_t nc_jchar_at(nc_str s, int64_t index);        /* byte where character index starts; s.n at the end */

/* jinja_operate.c */
jvalue nc_jbinary(jstate *s, int op, jvalue a, jvalue b);
jvalue nc_junary(jstate *s, int op, jvalue a);
bool nc_jcontains(jstate *s, jvalue needle, jvalue hay);
jvalue nc_jgetattr(jstate *s, jvalue v, nc_str name);
jvalue nc_jgetitem(jstate *s, jvalue v, jvalue key);
jvalue nc_jslice(jstate *s, jvalue v, jvalue start, jvalue stop, jvalue step);

/* Arguments: the index-th or the one named so; NULL when not given. */
const jvalue *nc_jarg(const jcall *c, int index, const char *name);
nc_str nc_jarg_text(jstate *s, const jcall *c, int index, const char *name, const char *fallback);
int64_t nc_jarg_int(jstate *s, const jcall *c, int index, const char *name, int64_t fallback);
bool nc_jarg_bool(const jcall *c, int index, const char *name, bool fallback);

/* jinja_filters.c, jinja_filters_list.c, jinja_tests.c: NULL when there is none of that name */
typedef jvalue jfilter_fn(jstate *s, jvalue v, const jcall *c);
typedef bool jtest_fn(jstate *s, jvalue v, const jcall *c);
jfilter_fn *nc_jfilter_find(nc_str name);
jfilter_fn *nc_jfilter_find_list(nc_str name);
jtest_fn *nc_jtest_find(nc_str name);
jvalue nc_jfilter_tojson(jstate *s, jvalue v, const jcall *c);
bool nc_jmethod_exists(jvalue self, nc_str name);
bool nc_jmethod_is_unsafe(jvalue self, nc_str name);        /* it would change the object: the sandbox refuses */
jvalue nc_jmethod_call(jstate *s, jvalue self, nc_str name, const jcall *c);
jvalue nc_jformat_percent(jstate *s, nc_str format, jvalue args);
jvalue nc_jformat_braces(jstate *s, nc_str format, const jcall *c);
jvalue nc_jcase(jstate *s, nc_str text, int mode);          /* 'u' upper, 'l' lower, 'c' capitalize, 't' title, 's' swapcase, 'w' the title filter */

/* jinja_eval.c */
jvalue nc_jeval(jstate *s, const jnode *n);
jvalue nc_jcall_value(jstate *s, jvalue callee, const jcall *c);
const jfunction *nc_jglobal(nc_str name);
int nc_jinja_parse(nc_arena *a, nc_str source, jnode **body, bool *has_generation, nc_error *e);

/* jinja_lex.c */
typedef enum jtoken_kind { T_END, T_TEXT, T_BLOCK_BEGIN, T_BLOCK_END, T_PRINT_BEGIN, T_PRINT_END, T_NAME, T_STRING, T_INTEGER, T_FLOAT, T_OPERATOR } jtoken_kind;
typedef struct jtoken { jtoken_kind kind; int line; nc_str text; } jtoken;
int nc_jinja_lex(nc_arena *a, nc_str source, jtoken **tokens, size_t *count, nc_error *e);
#endif
