/* units.h - the units a metric counts: text cut into words, eojeol, syllables or jamo, and the small Unicode tools for that.
 *
 * White space is what Python's str.split() takes for it. Bytes that are no UTF-8 pass through as single units.
 * Everything returned lies in the arena or in the text given.
 */
#ifndef NC_EVAL_UNITS_H
#define NC_EVAL_UNITS_H
#include "base/str.h"

typedef struct nc_words { nc_str *at; int n; } nc_words;

typedef enum nc_unit {
    NC_UNIT_EOJEOL,          /* split on white space: words in English, eojeol in Korean */
    NC_UNIT_EOJEOL_PUNCT,    /* the same after punctuation and symbols became words of their own (not inside numbers: 12,500) */
    NC_UNIT_SYLLABLE,        /* every character but white space */
    NC_UNIT_JAMO,            /* every character of the canonical decomposition but white space: 한 = ᄒ ᅡ ᆫ */
    NC_UNITS
} nc_unit;

const char *nc_unit_name(nc_unit unit);                                     /* eojeol, eojeol_punct, syllable, jamo */
int nc_unit_parse(const char *name, nc_unit *out);                          /* NC_ENOTFOUND */
nc_words nc_units(nc_arena *a, nc_str text, nc_unit unit);
nc_words nc_words_split(nc_arena *a, nc_str text);                          /* on white space, as str.split() */
nc_words nc_words_split_on(nc_arena *a, nc_str text, char separator);       /* as str.split(separator): empty pieces are kept */
nc_str nc_words_join(nc_arena *a, nc_words w, const char *separator);
nc_str nc_lower(nc_arena *a, nc_str text);                                  /* as str.lower(), the final sigma included */

typedef enum nc_char_kind { NC_CHAR_OTHER, NC_CHAR_LETTER, NC_CHAR_NUMBER, NC_CHAR_PUNCTUATION, NC_CHAR_SYMBOL } nc_char_kind;
nc_char_kind nc_char_kind_of(uint32_t code_point);                          /* Unicode's general category: L*, N*, P*, S* */
bool nc_char_is_blank(uint32_t code_point);                                  /* white space as Python has it */
/* The next character of s at *at: its code point (the byte + 0x110000 where it is no UTF-8), *at moved past it. */
uint32_t nc_next_char(nc_str s, size_t *at);
#endif
