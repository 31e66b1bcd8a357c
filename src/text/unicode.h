/* unicode.h - character classes and case as Rust's char and Python's str define them, on utf8proc's tables. Code points in, code points out. */
#ifndef NC_TEXT_UNICODE_H
#define NC_TEXT_UNICODE_H
#include "base/str.h"

bool nc_char_is_space(uint32_t c);         /* White_Space property (Rust's is_whitespace, regex \s) */
bool nc_char_is_numeric(uint32_t c);       /* categories Nd, Nl, No */
bool nc_char_is_alphabetic(uint32_t c);    /* letters and letter numbers */
bool nc_char_is_decimal(uint32_t c);       /* category Nd */
bool nc_char_is_punctuation(uint32_t c);   /* ASCII punctuation and categories P* */
bool nc_char_is_word(uint32_t c);          /* regex \w: letters, marks, decimal digits, connectors */
bool nc_char_is_mark(uint32_t c);          /* category Mn */
bool nc_char_is_any_mark(uint32_t c);      /* categories Mn, Mc, Me */
bool nc_char_is_other(uint32_t c);         /* categories Cc, Cf, Co, Cs */
bool nc_char_is_unprintable(uint32_t c);   /* what Python's repr() escapes: C* and Z* but the blank */
bool nc_char_is_control(uint32_t c);       /* category Cc */
bool nc_char_is_chinese(uint32_t c);       /* the CJK ideograph blocks of BERT's tokenizer */
bool nc_char_is_upper(uint32_t c);
bool nc_char_is_lower(uint32_t c);
/* Full case mappings (SpecialCasing.txt's unconditional lines): code points written, 1 to 3. */
int nc_char_to_lower(uint32_t c, uint32_t out[3]);
int nc_char_to_upper(uint32_t c, uint32_t out[3]);
int nc_char_to_title(uint32_t c, uint32_t out[3]);
int nc_char_combining_class(uint32_t c);
/* Decomposes one code point fully (canonical, or compatible): code points written, at most 18. */
int nc_char_decompose(uint32_t c, bool compatible, uint32_t out[18]);
/* The primary composite of two code points, 0 when there is none. */
uint32_t nc_char_compose(uint32_t a, uint32_t b);
/* Code points in valid UTF-8. */
size_t nc_utf8_count(nc_str s);
/* Appends s with every broken sequence replaced by U+FFFD, as Rust's from_utf8_lossy and Python's errors="replace" do it. */
void nc_utf8_lossy(nc_buf *out, nc_str s);
#endif
