/* regex.h - the regular expressions of tokenizer files, which are written for Oniguruma, run by PCRE2's JIT.
 *
 * What differs is translated: \s \S \w \h mean Unicode's White_Space, word characters, hexadecimal digits; ^ and $ match at every line. Texts must be valid UTF-8.
 */
#ifndef NC_TEXT_REGEX_H
#define NC_TEXT_REGEX_H
#include "base/str.h"

typedef struct nc_regex nc_regex;               /* immutable, shared by threads */
typedef struct nc_regex_scratch nc_regex_scratch;   /* one thread's */

int nc_regex_new(nc_str pattern, nc_regex **out, nc_error *e);
void nc_regex_free(nc_regex *r);
nc_regex_scratch *nc_regex_scratch_new(void);
void nc_regex_scratch_free(nc_regex_scratch *s);
/* The first non-empty match in text at or after `from`: true and its byte range. A match beyond the limits of time and memory counts as none. */
bool nc_regex_find(const nc_regex *r, nc_regex_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end);
#endif
