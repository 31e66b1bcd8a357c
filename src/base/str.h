/* str.h - text as a view (nc_str, owns nothing) and text being built (nc_buf, owns its heap block). */
#ifndef NC_BASE_STR_H
#define NC_BASE_STR_H
#include "base/arena.h"

typedef struct nc_str { const char *p; size_t n; } nc_str;      /* not NUL-terminated */
#define NC_STR(literal) ((nc_str){ (literal), sizeof(literal) - 1 })
static inline nc_str nc_str_of(const char *s) { return (nc_str){ s, s ? __builtin_strlen(s) : 0 }; }
bool nc_str_eq(nc_str a, nc_str b);
bool nc_str_eqz(nc_str a, const char *b);
bool nc_starts_with(const char *s, const char *prefix);
bool nc_ends_with(const char *s, const char *suffix);
/* Shell-like match over the whole name: * any run, ? one character. */
bool nc_glob(const char *pattern, const char *s);
/* Of names[count], the one with least edit distance to s if it is near enough to suggest, else NULL. */
const char *nc_nearest(const char *s, const char *const *names, int count);
/* Whole-string numbers; false when anything is left over or out of range. */
bool nc_parse_int(const char *s, int64_t *out);
bool nc_parse_double(const char *s, double *out);              /* C locale always */

typedef struct nc_buf { char *p; size_t n, capacity; } nc_buf;  /* p is NUL-terminated when not NULL; start from {0} */
void nc_buf_add(nc_buf *b, const void *bytes, size_t n);
void nc_buf_adds(nc_buf *b, const char *s);
void nc_buf_addc(nc_buf *b, char c);
void nc_buf_printf(nc_buf *b, const char *format, ...) NC_PRINTF(2, 3);
void nc_buf_reserve(nc_buf *b, size_t more);
void nc_buf_clear(nc_buf *b);                                   /* length 0, block kept */
void nc_buf_free(nc_buf *b);
void nc_buf_json_string(nc_buf *b, nc_str s);                   /* quoted and escaped; invalid UTF-8 becomes U+FFFD */
void nc_buf_html(nc_buf *b, nc_str s);                          /* & < > " ' escaped */
void nc_buf_base64(nc_buf *b, const void *bytes, size_t n);
/* Standard alphabet, padding optional, white space skipped; appends to out. */
int nc_base64_decode(nc_str s, nc_buf *out, nc_error *e);
/* "1.2 GB", "345 MB": decimal units, for people. Returns buffer. */
char *nc_human_bytes(double bytes, char buffer[32]);
char *nc_human_count(double count, char buffer[32]);            /* 124.4M */
char *nc_human_time(double seconds, char buffer[32]);           /* 1h 02m, 3m 20s, 4.2 s */

/* UTF-8. Decodes one code point at p[0..n): its length, 0 when n is 0, -1 when invalid (overlong, surrogate, cut). */
int nc_utf8_decode(const char *p, size_t n, uint32_t *code_point);
int nc_utf8_encode(uint32_t code_point, char out[4]);           /* bytes written */
bool nc_utf8_valid(nc_str s);
/* The number of leading bytes that form whole characters; what follows may be the start of one more. Invalid bytes count as whole. */
size_t nc_utf8_whole(nc_str s);
#endif
