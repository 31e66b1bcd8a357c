/* http_client.c - see http_client.h. The answer is read to its end; bodies with a length and in chunks are understood (RFC 9112). */
#include "cli/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MOST_BYTES = 64 << 20 };

static int dial(const char *host, int port, double seconds, int *out, nc_error *e)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct timeval limit = { (time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6) };
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return nc_fail(e, NC_EINVAL, "%s: no IPv4 address", host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return nc_fail(e, NC_EIO, "http://%s:%d: %s", host, port, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        int status = nc_fail(e, NC_EIO, "http://%s:%d: %s", host, port, strerror(errno));
        close(fd);
        return status;
    }
    *out = fd;
    return 0;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        p += put;
        n -= (size_t)put;
    }
    return true;
}

static bool read_all(int fd, nc_buf *all)
{
    char piece[16384];
    for (;;) {
        ssize_t got = recv(fd, piece, sizeof piece, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        if (all->n + (size_t)got > MOST_BYTES)
            return false;
        nc_buf_add(all, piece, (size_t)got);
    }
}

/* A header's value inside the head [p, end); NULL when absent. */
static const char *header(const char *p, const char *end, const char *name)
{
    size_t n = strlen(name);
    while (p < end) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        line = line ? line + 1 : end;
        if ((size_t)(line - p) > n && !strncasecmp(p, name, n) && p[n] == ':')
            return p + n + 1 + strspn(p + n + 1, " ");
        p = line;
    }
    return NULL;
}

static bool unchunk(const char *p, size_t n, nc_buf *out)
{
    while (n) {
        char *after;
        unsigned long long size = strtoull(p, &after, 16);
        const char *line = memchr(p, '\n', n);
        if (after == p || !line)
            return false;
        n -= (size_t)(line + 1 - p);
        p = line + 1;
        if (size == 0)
            return true;
        if (size + 2 > n)
            return false;
        nc_buf_add(out, p, (size_t)size);
        p += size + 2;
        n -= (size_t)size + 2;
    }
    return false;
}

static int take_apart(const nc_buf *all, int *status, nc_buf *out, nc_error *e)
{
    const char *end = all->n ? strstr(all->p, "\r\n\r\n") : NULL;
    if (!end || all->n < 12 || memcmp(all->p, "HTTP/1.", 7))
        return nc_fail(e, NC_EFORMAT, "the server's answer is no HTTP");
    *status = atoi(all->p + 9);
    const char *body = end + 4, *length = header(all->p, end, "Content-Length"), *coding = header(all->p, end, "Transfer-Encoding");
    size_t have = all->n - (size_t)(body - all->p);
    if (coding && !strncasecmp(coding, "chunked", 7))
        return unchunk(body, have, out) ? 0 : nc_fail(e, NC_EFORMAT, "the server's answer was cut short");
    if (length && strtoull(length, NULL, 10) != have)
        return nc_fail(e, NC_EFORMAT, "the server's answer has %zu bytes of %llu", have, strtoull(length, NULL, 10));
    nc_buf_add(out, body, have);
    return 0;
}

int nc_http_request(const char *host, int port, const char *path, const nc_str *body, double seconds, int *status, nc_buf *out, nc_error *e)
{
    int fd = -1;
    nc_buf head = { 0 }, all = { 0 };
    NC_TRY(dial(host, port, seconds, &fd, e));
    nc_buf_printf(&head, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n", body ? "POST" : "GET", path, host, port);
    if (body)
        nc_buf_printf(&head, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body->n);
    nc_buf_adds(&head, "\r\n");
    bool fine = send_all(fd, head.p, head.n) && (!body || send_all(fd, body->p, body->n)) && read_all(fd, &all);
    close(fd);
    int result = fine ? take_apart(&all, status, out, e) : nc_fail(e, NC_EIO, "http://%s:%d%s: the connection broke or was silent for %.0f s", host, port, path, seconds);
    nc_buf_free(&head);
    nc_buf_free(&all);
    return result;
}
