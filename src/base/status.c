/* status.c - filling an nc_error: one line of valid UTF-8, whatever bytes the arguments held. */
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* Control characters and bytes that are no UTF-8 (a hostile name, a character cut by the line's end) become '?'. */
static void make_one_line(char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        uint32_t code;
        int bytes = nc_utf8_decode(s + i, n - i, &code);
        if (bytes <= 0) {
            s[i++] = '?';
            continue;
        }
        if (code < 0x20 || code == 0x7f)
            s[i] = code == '\n' || code == '\t' ? ' ' : '?';
        i += (size_t)bytes;
    }
}

/* The longest prefix of s that fits in room bytes without cutting a character. */
static size_t fit(const char *s, size_t n, size_t room)
{
    if (n <= room)
        return n;
    while (room > 0 && ((unsigned char)s[room] & 0xc0) == 0x80)
        room--;
    return room;
}

int nc_failv(nc_error *e, int code, const char *format, va_list args)
{
    if (!e)
        return code;
    /* The arguments may point into e->message itself, so the text is made beside it. */
    char text[4096];
    vsnprintf(text, sizeof text, format, args);
    size_t n = fit(text, strlen(text), sizeof e->message - 1);
    memcpy(e->message, text, n);
    e->message[n] = 0;
    make_one_line(e->message);
    e->code = code;
    return code;
}

int nc_fail(nc_error *e, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    nc_failv(e, code, format, args);
    va_end(args);
    return code;
}

int nc_fail_in(nc_error *e, const char *format, ...)
{
    if (!e)
        return NC_EINVAL;
    char prefix[1000], old[sizeof e->message];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(old, e->message, sizeof old);
    old[sizeof old - 1] = 0;

    /* The cause stands at the end of the line; when the line is full, the prefix is shortened first, then the message's front. */
    const size_t room = sizeof e->message - 1;
    size_t old_n = strlen(old), skip = 0;
    if (old_n > room * 3 / 4) {
        skip = old_n - room * 3 / 4;
        while (skip < old_n && ((unsigned char)old[skip] & 0xc0) == 0x80)
            skip++;
    }
    size_t prefix_n = fit(prefix, strlen(prefix), room - 2 - (old_n - skip));
    memcpy(e->message, prefix, prefix_n);
    memcpy(e->message + prefix_n, ": ", 2);
    memcpy(e->message + prefix_n + 2, old + skip, old_n - skip + 1);
    make_one_line(e->message);
    return e->code ? e->code : (e->code = NC_EINVAL);
}

const char *nc_status_name(int code)
{
    switch (code) {
    case NC_OK: return "ok";
    case NC_EINVAL: return "invalid";
    case NC_ESHAPE: return "shape";
    case NC_ENOMEM: return "memory";
    case NC_EIO: return "io";
    case NC_EFORMAT: return "format";
    case NC_ENOTFOUND: return "not_found";
    case NC_EUNSUPPORTED: return "unsupported";
    case NC_ELIMIT: return "limit";
    case NC_ECANCELLED: return "cancelled";
    default: return "unknown";
    }
}
