/* jinja_lex.c - a template's source to tokens, with Jinja's rules for white space (lexer.py of Jinja 3.1, trim_blocks and lstrip_blocks on).
 *
 * "-" at a tag's inner edge strips all white space outside; lstrip_blocks drops blanks between a line's start and a block or comment tag, trim_blocks the newline right behind one; "+" switches
 * either off. One newline at the end of the template is dropped; CR LF and CR become LF.
 */
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

struct lexer {
    nc_arena *arena;
    nc_str s;
    size_t at;
    int line;
    jtoken *p;
    size_t n, capacity;
    bool line_start;
    nc_error *e;
};

static void add(struct lexer *x, jtoken_kind kind, nc_str text)
{
    if (x->n == x->capacity) {
        jtoken *grown = NC_NEW_ARRAY(x->arena, jtoken, x->capacity ? x->capacity * 2 : 256);
        if (x->n)
            memcpy(grown, x->p, x->n * sizeof *grown);
        x->p = grown;
        x->capacity = x->capacity ? x->capacity * 2 : 256;
    }
    x->p[x->n++] = (jtoken){ kind, x->line, text };
}

static void count_lines(struct lexer *x, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        x->line += x->s.p[i] == '\n';
}

static nc_str normalized(nc_arena *a, nc_str source)
{
    char *p = nc_arena_alloc(a, source.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < source.n; i++) {
        if (source.p[i] == '\r') {
            p[n++] = '\n';
            i += i + 1 < source.n && source.p[i + 1] == '\n';
        } else {
            p[n++] = source.p[i];
        }
    }
    if (n && p[n - 1] == '\n')
        n--;
    return (nc_str){ p, n };
}

static bool looking_at(const struct lexer *x, size_t at, const char *what)
{
    size_t n = strlen(what);
    return x->s.n - at >= n && !memcmp(x->s.p + at, what, n);
}

static size_t skip_space(const struct lexer *x, size_t at)
{
    uint32_t c;
    int length;
    while ((length = nc_utf8_decode(x->s.p + at, x->s.n - at, &c)) > 0 && (nc_char_is_space(c) || (c >= 0x1c && c <= 0x1f)))
        at += (size_t)length;
    return at;
}

static nc_str strip_right(nc_str t)
{
    while (t.n) {
        size_t at = t.n - 1;
        uint32_t c;
        while (at > 0 && ((unsigned char)t.p[at] & 0xc0) == 0x80)
            at--;
        if (nc_utf8_decode(t.p + at, t.n - at, &c) <= 0 || !(nc_char_is_space(c) || (c >= 0x1c && c <= 0x1f)))
            break;
        t.n = at;
    }
    return t;
}

/* The text in front of a tag that opens with sign. */
static nc_str before_tag(const struct lexer *x, nc_str text, char sign, bool is_print)
{
    if (sign == '-')
        return strip_right(text);
    if (sign == '+' || is_print)
        return text;
    size_t line = text.n;
    while (line > 0 && text.p[line - 1] != '\n')
        line--;
    if (line == 0 && !x->line_start)
        return text;
    nc_str rest = { text.p + line, text.n - line };
    return strip_right(rest).n == 0 ? (nc_str){ text.p, line } : text;
}

/* Behind a tag that ends at `at`: sign is the character before the closing delimiter. */
static size_t after_tag(struct lexer *x, size_t at, char sign, bool is_print)
{
    size_t end = at;
    if (sign == '-')
        end = skip_space(x, at);
    else if (sign != '+' && !is_print && at < x->s.n && x->s.p[at] == '\n')
        end++;
    x->line_start = end > at && x->s.p[end - 1] == '\n';
    return end;
}

static int syntax(struct lexer *x, const char *format, ...) NC_PRINTF(2, 3);
static int syntax(struct lexer *x, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    nc_failv(x->e, NC_EFORMAT, format, args);
    va_end(args);
    return nc_fail_in(x->e, "TemplateSyntaxError");
}

static size_t number(const struct lexer *x, size_t at, jtoken_kind *kind)
{
    const char *p = x->s.p;
    size_t n = x->s.n, i = at;
    *kind = T_INTEGER;
    if (p[i] == '0' && i + 1 < n && strchr("bBoOxX", p[i + 1]) && p[i + 1]) {
        i += 2;
        while (i < n && ((p[i] >= 'a' && p[i] <= 'f') || (p[i] >= 'A' && p[i] <= 'F') || (p[i] >= '0' && p[i] <= '9') || p[i] == '_'))
            i++;
        return i;
    }
    while (i < n && ((p[i] >= '0' && p[i] <= '9') || p[i] == '_'))
        i++;
    if (i + 1 < n && p[i] == '.' && p[i + 1] >= '0' && p[i + 1] <= '9') {
        *kind = T_FLOAT;
        i++;
        while (i < n && ((p[i] >= '0' && p[i] <= '9') || p[i] == '_'))
            i++;
    }
    size_t k = i + 1;
    if (i < n && (p[i] | 32) == 'e') {
        k += k < n && (p[k] == '+' || p[k] == '-');
        if (k < n && p[k] >= '0' && p[k] <= '9') {
            *kind = T_FLOAT;
            while (k < n && ((p[k] >= '0' && p[k] <= '9') || p[k] == '_'))
                k++;
            i = k;
        }
    }
    return i;
}

/* Python's escapes in a string literal. */
static nc_str unescape(nc_arena *a, nc_str t)
{
    char *out = nc_arena_alloc(a, t.n * 2 + 4);
    size_t n = 0;
    for (size_t i = 0; i < t.n; i++) {
        static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
        if (t.p[i] != '\\' || i + 1 == t.n) {
            out[n++] = t.p[i];
            continue;
        }
        char c = t.p[++i];
        const char *hit = c ? strchr(from, c) : NULL;
        size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (hit) {
            out[n++] = to[hit - from];
        } else if (digits && i + digits < t.n) {
            char hex[9] = { 0 }, *end;
            memcpy(hex, t.p + i + 1, digits);
            unsigned long code = strtoul(hex, &end, 16);
            if (*end) {
                out[n++] = '\\';
                out[n++] = c;
                continue;
            }
            n += (size_t)nc_utf8_encode((uint32_t)code, out + n);
            i += digits;
        } else if (c >= '0' && c <= '7') {
            uint32_t code = 0;
            size_t k = 0;
            for (; k < 3 && i + k < t.n && t.p[i + k] >= '0' && t.p[i + k] <= '7'; k++)
                code = code * 8 + (uint32_t)(t.p[i + k] - '0');
            n += (size_t)nc_utf8_encode(code, out + n);
            i += k - 1;
        } else if (c != '\n') {
            out[n++] = '\\';
            out[n++] = c;
        }
    }
    return (nc_str){ out, n };
}

static int string(struct lexer *x)
{
    char quote = x->s.p[x->at];
    size_t i = x->at + 1;
    while (i < x->s.n && x->s.p[i] != quote)
        i += x->s.p[i] == '\\' ? 2 : 1;
    if (i >= x->s.n)
        return syntax(x, "unexpected char '%c' at %zu", quote, x->at);
    add(x, T_STRING, unescape(x->arena, (nc_str){ x->s.p + x->at + 1, i - x->at - 1 }));
    count_lines(x, x->at, i);
    x->at = i + 1;
    return NC_OK;
}

static bool is_name(uint32_t c)
{
    return c == '_' || nc_char_is_word(c);
}

/* Tokens inside a tag until `close` ("%}" or "}}"), which may have a sign before it. Brackets are balanced so that "}}" can end two dicts. */
static int inside(struct lexer *x, const char *close, jtoken_kind end_kind)
{
    int braces = 0;
    char stack[J_DEPTH];
    for (;;) {
        size_t at = skip_space(x, x->at);
        count_lines(x, x->at, at);
        x->at = at;
        if (at >= x->s.n)
            return NC_OK;       /* the parser says what is missing */
        char c = x->s.p[at];
        bool signed_end = (c == '-' || (c == '+' && close[0] == '%')) && looking_at(x, at + 1, close);
        if (!braces && (signed_end || looking_at(x, at, close))) {
            add(x, end_kind, (nc_str){ x->s.p + at, 2 });
            size_t next = after_tag(x, at + signed_end + 2, signed_end ? c : 0, close[0] == '}');
            count_lines(x, at, next);
            x->at = next;
            return NC_OK;
        }
        uint32_t code = 0;
        int length = nc_utf8_decode(x->s.p + at, x->s.n - at, &code);
        if (c == '"' || c == '\'') {
            NC_TRY(string(x));
        } else if (c >= '0' && c <= '9') {
            jtoken_kind kind;
            size_t end = number(x, at, &kind);
            add(x, kind, (nc_str){ x->s.p + at, end - at });
            x->at = end;
        } else if (length > 0 && is_name(code)) {
            size_t end = at;
            while ((length = nc_utf8_decode(x->s.p + end, x->s.n - end, &code)) > 0 && is_name(code))
                end += (size_t)length;
            add(x, T_NAME, (nc_str){ x->s.p + at, end - at });
            x->at = end;
        } else {
            static const char *const two[] = { "//", "**", "==", "!=", ">=", "<=" };
            size_t n = 1;
            for (int i = 0; i < NC_COUNT(two); i++)
                if (looking_at(x, at, two[i]))
                    n = 2;
            if (n == 1 && (!c || !strchr("+-/*%~[](){}><=.:|,;", c)))
                return syntax(x, "unexpected char '%.*s' at %zu", length > 0 ? length : 1, x->s.p + at, at);
            if (strchr("([{", c)) {
                if (braces == J_DEPTH)
                    return syntax(x, "brackets nested deeper than %d", J_DEPTH);
                stack[braces++] = c == '(' ? ')' : c == '[' ? ']' : '}';
            } else if (strchr(")]}", c)) {
                if (!braces)
                    return syntax(x, "unexpected '%c'", c);
                if (stack[--braces] != c)
                    return syntax(x, "unexpected '%c', expected '%c'", c, stack[braces]);
            }
            add(x, T_OPERATOR, (nc_str){ x->s.p + at, n });
            x->at = at + n;
        }
    }
}

static int comment(struct lexer *x)
{
    for (size_t i = x->at; i + 1 < x->s.n; i++) {
        if (x->s.p[i] == '#' && x->s.p[i + 1] == '}') {
            char sign = i > x->at ? x->s.p[i - 1] : 0;
            size_t next = after_tag(x, i + 2, sign, false);
            count_lines(x, x->at, next);
            x->at = next;
            return NC_OK;
        }
    }
    return syntax(x, "Missing end of comment tag");
}

/* At the word raw of a block tag that starts there: true and everything up to {% endraw %} is text. */
static int raw(struct lexer *x, size_t word, bool *is_raw)
{
    size_t at = skip_space(x, word);
    *is_raw = false;
    if (!looking_at(x, at, "raw"))
        return NC_OK;
    at = skip_space(x, at + 3);
    char sign = at < x->s.n && x->s.p[at] == '-' ? '-' : 0;
    if (!looking_at(x, at + (sign == '-'), "%}"))
        return NC_OK;
    at += (sign == '-') + 2u;
    if (sign == '-')
        at = skip_space(x, at);
    *is_raw = true;
    for (size_t i = at; i + 1 < x->s.n; i++) {
        if (x->s.p[i] != '{' || x->s.p[i + 1] != '%')
            continue;
        size_t k = i + 2;
        char open = k < x->s.n && (x->s.p[k] == '-' || x->s.p[k] == '+') ? x->s.p[k++] : 0;
        k = skip_space(x, k);
        if (!looking_at(x, k, "endraw"))
            continue;
        k = skip_space(x, k + 6);
        char end = k < x->s.n && (x->s.p[k] == '-' || x->s.p[k] == '+') ? x->s.p[k++] : 0;
        if (!looking_at(x, k, "%}"))
            continue;
        x->line_start = false;
        nc_str text = before_tag(x, (nc_str){ x->s.p + at, i - at }, open, false);
        if (text.n)
            add(x, T_TEXT, text);
        size_t next = after_tag(x, k + 2, end, false);
        count_lines(x, x->at, next);
        x->at = next;
        return NC_OK;
    }
    return syntax(x, "Missing end of raw directive");
}

int nc_jinja_lex(nc_arena *a, nc_str source, jtoken **tokens, size_t *count, nc_error *e)
{
    struct lexer x = { .arena = a, .s = normalized(a, source), .line = 1, .line_start = true, .e = e };
    while (x.at < x.s.n) {
        size_t tag = x.at;
        while (tag + 1 < x.s.n && !(x.s.p[tag] == '{' && strchr("{%#", x.s.p[tag + 1]) && x.s.p[tag + 1]))
            tag++;
        if (tag + 1 >= x.s.n) {
            add(&x, T_TEXT, (nc_str){ x.s.p + x.at, x.s.n - x.at });
            break;
        }
        char kind = x.s.p[tag + 1];
        char sign = tag + 2 < x.s.n && (x.s.p[tag + 2] == '-' || x.s.p[tag + 2] == '+') ? x.s.p[tag + 2] : 0;
        nc_str text = before_tag(&x, (nc_str){ x.s.p + x.at, tag - x.at }, sign, kind == '{');
        if (text.n)
            add(&x, T_TEXT, text);
        count_lines(&x, x.at, tag);
        x.at = tag + 2 + (sign != 0);
        x.line_start = false;
        if (kind == '#') {
            NC_TRY(comment(&x));
        } else if (kind == '{') {
            add(&x, T_PRINT_BEGIN, (nc_str){ x.s.p + tag, 2 });
            NC_TRY(inside(&x, "}}", T_PRINT_END));
        } else {
            bool is_raw;
            NC_TRY(raw(&x, x.at, &is_raw));
            if (is_raw)
                continue;
            add(&x, T_BLOCK_BEGIN, (nc_str){ x.s.p + tag, 2 });
            NC_TRY(inside(&x, "%}", T_BLOCK_END));
        }
    }
    add(&x, T_END, (nc_str){ "", 0 });
    *tokens = x.p;
    *count = x.n;
    return NC_OK;
}
