/* utf8.c - UTF-8 as RFC 3629 and Unicode's table 3-7 define it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base/str.h"

int nc_utf8_decode(const char *text, size_t n, uint32_t *code_point)
{
    const unsigned char *p = (const unsigned char *)text;
    if (n == 0)
        return 0;
    uint32_t c = p[0];
    if (c < 0x80) {
        *code_point = c;
        return 1;
    }
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || n <= (size_t)more)
        return -1;
    c &= 0x3fu >> more;
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return -1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((more == 2 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff))) || (more == 3 && (c < 0x10000 || c > 0x10ffff)))
        return -1;
    *code_point = c;
    return more + 1;
}

int nc_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        c = 0xfffd;
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

bool nc_utf8_valid(nc_str s)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t code;
        int bytes = nc_utf8_decode(s.p + i, s.n - i, &code);
        if (bytes < 0)
            return false;
        i += (size_t)bytes;
    }
    return true;
}

/* True when p[0..n) is a proper beginning of some valid character that needs more bytes. */
static bool is_beginning(const unsigned char *p, size_t n)
{
    unsigned c = p[0];
    size_t need = c >= 0xf0 && c <= 0xf4 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 1;
    if (n >= need)
        return false;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    if (n < 2)
        return true;
    return !(c == 0xe0 && p[1] < 0xa0) && !(c == 0xed && p[1] > 0x9f) && !(c == 0xf0 && p[1] < 0x90) && !(c == 0xf4 && p[1] > 0x8f);
}

size_t nc_utf8_whole(nc_str s)
{
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        const unsigned char *p = (const unsigned char *)s.p + s.n - back;
        if ((*p & 0xc0) != 0x80)
            return is_beginning(p, back) ? s.n - back : s.n;
    }
    return s.n;
}
