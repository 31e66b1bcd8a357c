/* regex.c - PCRE2 with JIT behind four functions; translation from Oniguruma's syntax (doc/RE of kkos/oniguruma) to PCRE2's. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>
#include <stdlib.h>

struct nc_regex {
    pcre2_code *code;
    bool jit;
};

struct nc_regex_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

#define SPACES "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORDS "\\p{L}\\p{M}\\p{Nd}\\p{Pc}"
#define HEXES "0-9A-Fa-f"

/* Translates the escape \c; inside says whether it stands in a bracket class. False when it means the same in PCRE2. */
static bool translate_escape(nc_buf *b, char c, bool inside)
{
    const char *set = c == 's' || c == 'S' ? SPACES : c == 'w' || c == 'W' ? WORDS : c == 'h' || c == 'H' ? HEXES : NULL;
    bool negated = c == 'S' || c == 'W' || c == 'H';
    if (!set || (inside && negated))
        return false;
    nc_buf_adds(b, inside ? "" : negated ? "[^" : "[");
    nc_buf_adds(b, set);
    nc_buf_adds(b, inside ? "" : "]");
    return true;
}

static void translate(nc_buf *b, nc_str pattern)
{
    bool inside = false;
    for (size_t i = 0; i < pattern.n; i++) {
        char c = pattern.p[i];
        if (c == '\\' && i + 1 < pattern.n) {
            i++;
            if (!translate_escape(b, pattern.p[i], inside)) {
                nc_buf_addc(b, c);
                nc_buf_addc(b, pattern.p[i]);
            }
            continue;
        }
        if (c == '[' && !inside) {
            inside = true;
            nc_buf_addc(b, c);
            if (i + 1 < pattern.n && pattern.p[i + 1] == '^')
                nc_buf_addc(b, pattern.p[++i]);
            if (i + 1 < pattern.n && pattern.p[i + 1] == ']')
                nc_buf_addc(b, pattern.p[++i]);
            continue;
        }
        if (c == ']')
            inside = false;
        nc_buf_addc(b, c);
    }
}

int nc_regex_new(nc_str pattern, nc_regex **out, nc_error *e)
{
    *out = NULL;
    if (pattern.n > 65536)
        return nc_fail(e, NC_ELIMIT, "regular expression of %zu bytes, the limit is 65536", pattern.n);
    nc_buf text = { 0 };
    translate(&text, pattern);
    int code;
    PCRE2_SIZE where;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)(text.p ? text.p : ""), text.n, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                         &code, &where, NULL);
    nc_buf_free(&text);
    if (!compiled) {
        PCRE2_UCHAR message[200];
        pcre2_get_error_message(code, message, sizeof message);
        return nc_fail(e, NC_EFORMAT, "regular expression %.*s: %s (near byte %zu)", (int)(pattern.n < 200 ? pattern.n : 200), pattern.p, (char *)message, (size_t)where);
    }
    nc_regex *r = nc_xcalloc(1, sizeof *r);
    r->code = compiled;
    r->jit = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;
    *out = r;
    return NC_OK;
}

void nc_regex_free(nc_regex *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    free(r);
}

nc_regex_scratch *nc_regex_scratch_new(void)
{
    nc_regex_scratch *s = nc_xcalloc(1, sizeof *s);
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(32 * 1024, 4 * 1024 * 1024, NULL);
    if (s->context) {
        pcre2_set_match_limit(s->context, 50000000);
        pcre2_set_heap_limit(s->context, 64 * 1024);
        if (s->stack)
            pcre2_jit_stack_assign(s->context, NULL, s->stack);
    }
    return s;
}

void nc_regex_scratch_free(nc_regex_scratch *s)
{
    if (!s)
        return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

bool nc_regex_find(const nc_regex *r, nc_regex_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    PCRE2_SPTR p = (PCRE2_SPTR)(text.p ? text.p : "");
    while (from <= text.n) {
        int found;
        if (r->jit) {
            found = pcre2_jit_match(r->code, p, text.n, from, PCRE2_NO_UTF_CHECK, s->match, s->context);
            if (found == PCRE2_ERROR_JIT_STACKLIMIT)
                found = pcre2_match(r->code, p, text.n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, s->context);
        } else {
            found = pcre2_match(r->code, p, text.n, from, PCRE2_NO_UTF_CHECK, s->match, s->context);
        }
        if (found < 0)
            return false;
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match);
        if (range[1] > range[0] && range[0] >= from) {
            *begin = range[0];
            *end = range[1];
            return true;
        }
        from = (range[0] > from ? range[0] : from) + 1;
        while (from < text.n && ((unsigned char)text.p[from] & 0xc0) == 0x80)
            from++;
    }
    return false;
}
