/* serve.c - the listening socket, the daemon, the start and the stop. */
#include "serve/serve.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "serve/server.h"

/* Written by the signal handler, read by nc_serve: -1 while nothing is served. */
static atomic_int stop_fd = -1;

void nc_serve_stop(void)
{
    int fd = atomic_load(&stop_fd), saved = errno;
    uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, sizeof one) < 0)
        errno = saved;
    errno = saved;
}

/* ---- socket ---- */
static int bind_one(const struct addrinfo *a, const char *host, int port, int *out, nc_error *e)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), on = 1;
    if (fd < 0)
        return nc_fail(e, NC_EIO, "%s port %d: %s", host, port, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 128) < 0) {
        int why = errno;
        close(fd);
        if (why == EADDRINUSE)
            return nc_fail(e, NC_EIO, "%s port %d is in use; choose another with --port or stop what listens there", host, port);
        if (why == EACCES)
            return nc_fail(e, NC_EIO, "%s port %d: not allowed; ports below 1024 need root, choose another with --port", host, port);
        return nc_fail(e, NC_EIO, "%s port %d: %s", host, port, strerror(why));
    }
    *out = fd;
    return 0;
}

static int open_socket(const char *host, int port, int *fd, int *bound, nc_error *e)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port > 0 ? port : 0);
    int why = getaddrinfo(host, service, &hints, &list), status = NC_EIO;
    if (why)
        return nc_fail(e, NC_EINVAL, "host %s: %s", host, gai_strerror(why));
    for (struct addrinfo *a = list; a && status < 0; a = a->ai_next)
        status = bind_one(a, host, port, fd, e);
    freeaddrinfo(list);
    NC_TRY(status);
    struct sockaddr_storage s;
    socklen_t n = sizeof s;
    char name[16] = "0";
    if (getsockname(*fd, (struct sockaddr *)&s, &n) == 0)
        getnameinfo((struct sockaddr *)&s, n, NULL, 0, name, sizeof name, NI_NUMERICSERV);
    *bound = atoi(name);
    return 0;
}

/* ---- daemon ---- */
static void log_line(void *context, const char *format, va_list args)
{
    char line[512];
    (void)context;
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\r\n")] = 0;
    nc_debug("http: %s", line);
}

static struct MHD_Daemon *start_daemon(nc_server *s, int fd)
{
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    return MHD_start_daemon(flags, 0, NULL, NULL, nc_on_request, s, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->o.connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->o.idle_seconds,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)64 << 10, MHD_OPTION_NOTIFY_COMPLETED, nc_on_completed, s, MHD_OPTION_END);
}

/* Waits for one more nc_serve_stop, at most so long; true when it came. */
static bool stop_asked(int fd, int milliseconds)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t times;
    while (poll(&p, 1, milliseconds) < 0 && errno == EINTR && milliseconds < 0)
        ;
    return (p.revents & POLLIN) && read(fd, &times, sizeof times) == (ssize_t)sizeof times;
}

static void drain(nc_server *s, struct MHD_Daemon *d, int fd)
{
    double until = nc_now() + s->o.grace_seconds;
    int listening = MHD_quiesce_daemon(d);
    atomic_store(&s->draining, true);
    nc_engine_close(nc_session_engine(s->session));
    if (listening >= 0)
        close(listening);
    if (atomic_load(&s->open))
        nc_info("stopping: %d requests are being finished", atomic_load(&s->open));
    while (atomic_load(&s->open) && nc_now() < until)
        if (stop_asked(fd, 20))
            break;
    if (atomic_load(&s->open))
        nc_warn("stopping: %d requests are cancelled", atomic_load(&s->open));
    atomic_store(&s->aborting, true);
    MHD_stop_daemon(d);
}

static void fill_defaults(nc_serve_options *o)
{
    o->host = o->host ? o->host : "127.0.0.1";
    o->port = o->port ? o->port : 8080;
    o->connections = o->connections > 0 ? o->connections : 256;
    o->requests = o->requests > 0 ? o->requests : 128;
    o->body_total = o->body_total ? o->body_total : (size_t)512 << 20;
    o->idle_seconds = o->idle_seconds > 0 ? o->idle_seconds : 60;
    o->grace_seconds = o->grace_seconds > 0 ? o->grace_seconds : 30;
    o->limits.body_bytes = o->limits.body_bytes ? o->limits.body_bytes : (size_t)32 << 20;
    o->session.visual.max_pixels = o->session.visual.max_pixels ? o->session.visual.max_pixels : 40000000;
    o->session.visual.max_frames = o->session.visual.max_frames ? o->session.visual.max_frames : 20000;
}

static char *name_of(const nc_serve_options *o)
{
    if (o->model_name)
        return nc_xstrdup(o->model_name);
    char *name = nc_xstrdup(o->folder);
    size_t n = strlen(name);
    while (n > 1 && name[n - 1] == '/')
        name[--n] = 0;
    if (nc_is_dir(o->folder)) {
        char *base = nc_xstrdup(nc_path_base(name));
        free(name);
        return base;
    }
    return name;
}

static int serve(nc_server *s, nc_error *e)
{
    int listening = -1, port = 0, stop = eventfd(0, EFD_CLOEXEC);
    if (stop < 0)
        return nc_fail(e, NC_EIO, "eventfd: %s", strerror(errno));
    int status = open_socket(s->o.host, s->o.port, &listening, &port, e), none = -1;
    bool mine = status == 0 && atomic_compare_exchange_strong(&stop_fd, &none, stop);
    if (status == 0 && !mine)
        status = nc_fail(e, NC_EINVAL, "this process serves already");
    if (status == 0)
        status = nc_session_open(s->o.folder, &s->o.session, &s->session, e);
    struct MHD_Daemon *d = status == 0 ? start_daemon(s, listening) : NULL;
    if (status == 0 && !d)
        status = nc_fail(e, NC_EIO, "%s port %d: the HTTP server does not start", s->o.host, port);
    if (status < 0) {
        if (listening >= 0)
            close(listening);
    } else {
        if (s->o.ready)
            s->o.ready(s->o.context, s->o.host, port, s->session);
        while (!stop_asked(stop, -1))
            ;
        drain(s, d, stop);
    }
    if (mine)
        atomic_store(&stop_fd, -1);
    close(stop);
    nc_session_close(s->session);
    return status;
}

int nc_serve(const nc_serve_options *o, nc_error *e)
{
    nc_server *s = nc_xcalloc(1, sizeof *s);
    s->o = *o;
    fill_defaults(&s->o);
    s->name = name_of(o);
    s->created = (int64_t)nc_wall_time();
    nc_metrics_init(&s->metrics);
    int status = serve(s, e);
    nc_metrics_free(&s->metrics);
    free(s->name);
    free(s);
    return status;
}
