/* escape.c - text inside other text: JSON strings, HTML, base64 (RFC 4648). */
#include "base/str.h"

void nc_buf_json_string(nc_buf *b, nc_str s)
{
    static const char hex[] = "0123456789abcdef";
    nc_buf_reserve(b, s.n + 2);
    nc_buf_addc(b, '"');
    for (size_t i = 0, plain = 0; i <= s.n;) {
        uint32_t code = 0;
        int bytes = nc_utf8_decode(s.p + i, s.n - i, &code);
        if (bytes > 0 && code >= 0x20 && code != '"' && code != '\\') {
            i += (size_t)bytes;
            continue;
        }
        nc_buf_add(b, s.p + plain, i - plain);
        if (bytes == 0)
            break;
        if (bytes < 0)
            nc_buf_adds(b, "\xef\xbf\xbd");
        else if (code == '"' || code == '\\')
            nc_buf_add(b, (char[]){ '\\', (char)code }, 2);
        else if (code >= '\b' && code <= '\r' && code != '\v')
            nc_buf_add(b, (char[]){ '\\', "btn?fr"[code - '\b'] }, 2);
        else
            nc_buf_add(b, (char[]){ '\\', 'u', '0', '0', hex[code >> 4], hex[code & 15] }, 6);
        i += bytes < 0 ? 1 : (size_t)bytes;
        plain = i;
    }
    nc_buf_addc(b, '"');
}

void nc_buf_html(nc_buf *b, nc_str s)
{
    size_t plain = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *entity = s.p[i] == '&' ? "&amp;" : s.p[i] == '<' ? "&lt;" : s.p[i] == '>' ? "&gt;"
                           : s.p[i] == '"' ? "&quot;" : s.p[i] == '\'' ? "&#39;" : NULL;
        if (!entity)
            continue;
        nc_buf_add(b, s.p + plain, i - plain);
        nc_buf_adds(b, entity);
        plain = i + 1;
    }
    nc_buf_add(b, s.p + plain, s.n - plain);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void nc_buf_base64(nc_buf *b, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    nc_buf_reserve(b, n / 3 * 4 + 4);
    for (size_t i = 0; i < n; i += 3) {
        uint32_t left = n - i > 2 ? 3 : (uint32_t)(n - i);
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        char out[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63], left > 1 ? alphabet[v >> 6 & 63] : '=', left > 2 ? alphabet[v & 63] : '=' };
        nc_buf_add(b, out, 4);
    }
}

static int digit(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
         : c == '+' ? 62 : c == '/' ? 63 : -1;
}

int nc_base64_decode(nc_str s, nc_buf *out, nc_error *e)
{
    uint32_t v = 0;
    int digits = 0, padding = 0;
    nc_buf_reserve(out, s.n / 4 * 3 + 3);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
            continue;
        if (c == '=' && digits >= 2 && digits + padding < 4) {
            padding++;
            continue;
        }
        int d = digit(c);
        if (d < 0 || padding)
            return nc_fail(e, NC_EFORMAT, "base64: unexpected byte 0x%02x at %zu of %zu", (unsigned char)c, i, s.n);
        v = v << 6 | (uint32_t)d;
        if (++digits == 4) {
            nc_buf_add(out, (char[]){ (char)(v >> 16), (char)(v >> 8), (char)v }, 3);
            v = 0;
            digits = 0;
        }
    }
    if (digits == 1 || (padding && digits + padding != 4))
        return nc_fail(e, NC_EFORMAT, "base64: the text ends inside a group; it was cut short");
    if (digits == 2)
        nc_buf_addc(out, (char)(v >> 4));
    else if (digits == 3)
        nc_buf_add(out, (char[]){ (char)(v >> 10), (char)(v >> 2) }, 2);
    return 0;
}
