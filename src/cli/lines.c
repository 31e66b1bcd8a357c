/* lines.c - see lines.h. */
#include "cli/lines.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes of stdin not yet taken as lines. */
struct input { nc_buf held; size_t begin; bool ended; };

/* The next line, or false when none is whole yet (at the end the rest is one). */
static bool next_line(struct input *in, nc_str *out)
{
    const char *p = in->held.p ? in->held.p + in->begin : "", *end = memchr(p, '\n', in->held.n - in->begin);
    size_t n = end ? (size_t)(end - p) : in->held.n - in->begin;
    if (!end && (!in->ended || n == 0))
        return false;
    in->begin += n + (end != NULL);
    *out = (nc_str){ p, n > 0 && p[n - 1] == '\r' ? n - 1 : n };
    return true;
}

static bool is_ready(void)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    return poll(&p, 1, 0) > 0;
}

static int read_more(struct input *in, nc_error *e)
{
    char piece[1 << 16];
    ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
    if (n < 0)
        return nc_fail(e, NC_EIO, "stdin cannot be read");
    in->ended = n == 0;
    nc_buf_add(&in->held, piece, (size_t)n);
    return in->held.n > (size_t)1 << 30 ? nc_fail(e, NC_ELIMIT, "a line of more than 1 GiB") : 0;
}

int nc_cli_lines(int batch, nc_cli_lines_fn *take, void *context, nc_error *e)
{
    struct input in = { 0 };
    nc_str *line = nc_xmalloc(sizeof *line * (size_t)batch);
    int64_t done = 0;
    int status = 0;
    while (status == 0) {
        size_t begin = in.begin;
        int n = 0;
        while (n < batch && next_line(&in, &line[n]))
            n++;
        if (n == 0 && in.ended)
            break;
        if (n < batch && !in.ended && (n == 0 || is_ready())) {
            in.begin = begin;
            status = read_more(&in, e);
            continue;
        }
        status = take(context, line, n, done, e);
        done += n;
        memmove(in.held.p, in.held.p + in.begin, in.held.n - in.begin);
        in.held.n -= in.begin;
        in.begin = 0;
    }
    free(line);
    nc_buf_free(&in.held);
    return status;
}
