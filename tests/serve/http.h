/* http.h - a server in a thread of the test, and a client made of plain sockets, so that broken requests can be sent too. */
#ifndef NC_TEST_HTTP_H
#define NC_TEST_HTTP_H
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "serve/serve.h"

struct served { nc_serve_options o; pthread_t thread; atomic_int port; int status; nc_error error; };

static void on_ready(void *context, const char *host, int port, const nc_session *session)
{
    (void)host;
    (void)session;
    atomic_store(&((struct served *)context)->port, port);
}

static void *serve_thread(void *context)
{
    struct served *s = context;
    s->status = nc_serve(&s->o, &s->error);
    if (s->status < 0)
        atomic_store(&s->port, -1);
    return NULL;
}

static void pause_ms(int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&t, NULL);
}

/* Starts and waits until it listens; port 0 asks for any. */
static void start_server(struct served *s)
{
    s->o.port = s->o.port ? s->o.port : -1;
    s->o.ready = on_ready;
    s->o.context = s;
    assert_int_equal(pthread_create(&s->thread, NULL, serve_thread, s), 0);
    while (!atomic_load(&s->port))
        pause_ms(2);
    if (atomic_load(&s->port) < 0)
        fail_msg("%s", s->error.message);
}

static void stop_server(struct served *s)
{
    nc_serve_stop();
    pthread_join(s->thread, NULL);
    assert_int_equal(s->status, 0);
}

static int dial(const struct served *s)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atomic_load(&((struct served *)(uintptr_t)s)->port)) };
    struct timeval limit = { 20, 0 };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL);
        if (k <= 0)
            return;                  /* the server may close early; the answer says why */
        bytes += k;
        n -= (size_t)k;
    }
}

/* All until the server closes. */
static void hear(int fd, nc_buf *out)
{
    char block[4096];
    for (ssize_t k; (k = recv(fd, block, sizeof block, 0)) > 0;)
        nc_buf_add(out, block, (size_t)k);
    nc_buf_add(out, "", 0);
}

static void request_text(nc_buf *out, const char *method, const char *path, const char *headers, const char *body, size_t n)
{
    nc_buf_printf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method, path, headers ? headers : "");
    if (body)
        nc_buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", n);
    nc_buf_adds(out, "\r\n");
    if (body)
        nc_buf_add(out, body, n);
}

/* One request over its own connection; the status, and the body (chunks put together) in *answer. */
static int ask_n(const struct served *s, const char *method, const char *path, const char *headers, const char *body, size_t n, nc_buf *answer)
{
    nc_buf request = { 0 }, all = { 0 };
    int fd = dial(s), status = 0;
    request_text(&request, method, path, headers, body, n);
    say(fd, request.p, request.n);
    hear(fd, &all);
    close(fd);
    nc_buf_clear(answer);
    if (all.n && sscanf(all.p, "HTTP/1.1 %d", &status) == 1) {
        char *at = strstr(all.p, "\r\n\r\n"), *end = all.p + all.n;
        bool chunked = strcasestr(all.p, "transfer-encoding: chunked") && strcasestr(all.p, "transfer-encoding: chunked") < at;
        at += 4;
        if (!chunked)
            nc_buf_add(answer, at, (size_t)(end - at));
        while (chunked && at < end) {
            size_t size = strtoul(at, &at, 16);
            at += 2;
            if (!size || at + size > end)
                break;
            nc_buf_add(answer, at, size);
            at += size + 2;
        }
    }
    nc_buf_add(answer, "", 0);
    if (!answer->p)
        nc_buf_adds(answer, "");
    nc_buf_free(&request);
    nc_buf_free(&all);
    return status;
}

static int ask(const struct served *s, const char *method, const char *path, const char *body, nc_buf *answer)
{
    return ask_n(s, method, path, NULL, body, body ? strlen(body) : 0, answer);
}

static nc_json *json_of(nc_arena *a, const nc_buf *b)
{
    nc_json *j = NULL;
    nc_error e = { 0 };
    if (nc_json_parse(a, (nc_str){ b->p ? b->p : "", b->n }, "answer", &j, &e) < 0)
        fail_msg("%s in: %s", e.message, b->p ? b->p : "");
    return j;
}

static double metric(const struct served *s, const char *name)
{
    nc_buf b = { 0 };
    double v = -1;
    assert_int_equal(ask(s, "GET", "/metrics", NULL, &b), 200);
    for (char *line = b.p; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ')
            v = strtod(line + strlen(name), NULL);
    nc_buf_free(&b);
    return v;
}
#endif
