/* template.h - chat templates: the part of Jinja 3.1 that Hugging Face chat templates use, as transformers configures it (immutable sandbox, trim_blocks,
 * lstrip_blocks, loop controls, {% generation %}, tojson without HTML escaping, raise_exception, strftime_now).
 *
 * A template is compiled once and rendered by any number of threads. What Python would raise comes back as the error message "Class: text"
 * ("UndefinedError: 'x' is undefined"), code NC_EFORMAT from compiling, NC_EINVAL or NC_ELIMIT from rendering.
 */
#ifndef NC_TEXT_TEMPLATE_H
#define NC_TEXT_TEMPLATE_H
#include "base/json.h"

typedef struct nc_template nc_template;

int nc_template_compile(nc_str source, nc_template **out, nc_error *e);         /* source need not outlive the call */
void nc_template_free(nc_template *t);                                          /* NULL is allowed */
bool nc_template_has_generation(const nc_template *t);                          /* {% generation %} occurs: assistant spans can be had */

typedef struct nc_template_span { size_t begin, end; } nc_template_span;       /* bytes of the output */
typedef struct nc_template_spans { nc_template_span *p; size_t n, capacity; } nc_template_spans;
void nc_template_spans_free(nc_template_spans *s);

typedef struct nc_template_limits {
    size_t output;              /* bytes of output and of any intermediate string; 0: 64 MiB */
    int64_t steps;              /* statements, expressions, list items; 0: 20 million */
    double now;                 /* what strftime_now sees, seconds since 1970 in local time; 0: the clock */
    bool now_is_utc;            /* break `now` down as UTC */
} nc_template_limits;

/* Appends the text to out. context is an object: messages, tools, add_generation_prompt, bos_token, eos_token and whatever else the template
 * names. limits and spans may be NULL; spans gets the output ranges written inside {% generation %} blocks. On failure out is as it was. */
int nc_template_render(const nc_template *t, const nc_json *context, const nc_template_limits *limits, nc_buf *out, nc_template_spans *spans, nc_error *e);

/* Options of a chat, as apply_chat_template has them. */
typedef struct nc_chat_options {
    const nc_json *tools;                   /* a list, or NULL */
    const nc_json *extra;                   /* an object of further variables (enable_thinking, documents ...), or NULL */
    const char *bos, *eos, *pad, *unk;      /* bos_token ...; NULL: not defined */
    bool add_generation_prompt;
    bool continue_final_message;            /* the output ends right behind the last message's text */
    const nc_template_limits *limits;
} nc_chat_options;
/* Renders messages (a list). Of reasoning_content, reasoning and thinking the first present fills in the other two, as transformers does. */
int nc_chat_render(const nc_template *t, const nc_json *messages, const nc_chat_options *options, nc_buf *out, nc_template_spans *spans, nc_error *e);
#endif
