/* unicode.c - character properties and case mappings on utf8proc's tables (Unicode Character Database). */
#include "text/unicode.h"

#include <utf8proc.h>

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool nc_char_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool nc_char_is_numeric(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool nc_char_is_decimal(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_ND;
}

bool nc_char_is_alphabetic(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool nc_char_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool nc_char_is_word(uint32_t c)
{
    if (c == 0x200c || c == 0x200d)
        return true;
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC || (c >= 0x24b6 && c <= 0x24e9);
}

bool nc_char_is_mark(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_MN;
}

bool nc_char_is_any_mark(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME;
}

bool nc_char_is_other(uint32_t c)
{
    return category(c) >= UTF8PROC_CATEGORY_CC;
}

bool nc_char_is_unprintable(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_CN || (k >= UTF8PROC_CATEGORY_ZS && c != ' ');
}

bool nc_char_is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

bool nc_char_is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

bool nc_char_is_upper(uint32_t c)
{
    return utf8proc_isupper((utf8proc_int32_t)c);
}

bool nc_char_is_lower(uint32_t c)
{
    return utf8proc_islower((utf8proc_int32_t)c);
}

static const struct { uint32_t c, upper[3], title[3]; } special_case[] = {
#include "text/unicode_case.inc"
};

static int special(uint32_t c, bool title, uint32_t out[3])
{
    int low = 0, high = NC_COUNT(special_case);
    while (low < high) {
        int middle = (low + high) / 2;
        if (special_case[middle].c < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == NC_COUNT(special_case) || special_case[low].c != c)
        return 0;
    const uint32_t *from = title ? special_case[low].title : special_case[low].upper;
    int n = 0;
    while (n < 3 && from[n]) {
        out[n] = from[n];
        n++;
    }
    return n;
}

int nc_char_to_lower(uint32_t c, uint32_t out[3])
{
    if (c == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = c < 0x80 ? (c >= 'A' && c <= 'Z' ? c + 32 : c) : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

int nc_char_to_upper(uint32_t c, uint32_t out[3])
{
    int n = c < 0x80 ? 0 : special(c, false, out);
    if (n)
        return n;
    out[0] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
    return 1;
}

int nc_char_to_title(uint32_t c, uint32_t out[3])
{
    int n = c < 0x80 ? 0 : special(c, true, out);
    if (n)
        return n;
    out[0] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)c);
    return 1;
}

int nc_char_combining_class(uint32_t c)
{
    return utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}

int nc_char_decompose(uint32_t c, bool compatible, uint32_t out[18])
{
    utf8proc_int32_t buffer[18];
    int boundary = 0;
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0);
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, buffer, 18, options, &boundary);
    if (n < 1 || n > 18) {
        out[0] = c;
        return 1;
    }
    for (int i = 0; i < n; i++)
        out[i] = (uint32_t)buffer[i];
    return (int)n;
}

uint32_t nc_char_compose(uint32_t a, uint32_t b)
{
    utf8proc_int32_t buffer[3] = { (utf8proc_int32_t)a, (utf8proc_int32_t)b, 0 };
    utf8proc_ssize_t n = utf8proc_normalize_utf32(buffer, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return n == 1 ? (uint32_t)buffer[0] : 0;
}

size_t nc_utf8_count(nc_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

/* Length of the longest prefix of p[0..n) that begins some valid sequence: the part one U+FFFD stands for (Unicode 3.9, "maximal subparts"). */
static size_t broken_length(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c < 0xc2 || c > 0xf4 || n < 2)
        return 1;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (c < 0xe0 || p[1] < low || p[1] > high)
        return 1;
    if (c < 0xf0 || n < 3 || (p[2] & 0xc0) != 0x80)
        return 2;
    return 3;
}

void nc_utf8_lossy(nc_buf *out, nc_str s)
{
    size_t i = 0, start = 0;
    if (!s.n)
        return;
    while (i < s.n) {
        uint32_t c;
        int length = nc_utf8_decode(s.p + i, s.n - i, &c);
        if (length > 0) {
            i += (size_t)length;
            continue;
        }
        nc_buf_add(out, s.p + start, i - start);
        nc_buf_adds(out, "\xef\xbf\xbd");
        i += broken_length((const unsigned char *)s.p + i, s.n - i);
        start = i;
    }
    nc_buf_add(out, s.p + start, s.n - start);
}
