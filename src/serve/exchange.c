/* exchange.c - one request from its first header to its end.
 *
 * The key and the declared length are checked before a byte of the body is read. Bodies count against a total, so that many large ones are refused instead of
 * filling memory. What arrives beyond the limit is thrown away until the end of the body, or the connection is cut when it goes on.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/server.h"

const char *const nc_route_names[NC_ROUTES] = { "/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics", "other" };

enum MHD_Result nc_exchange_send(nc_exchange *x, int status, const char *type, nc_buf *body)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(body->n, body->p ? body->p : "", MHD_RESPMEM_MUST_COPY);
    nc_buf_free(body);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, "Content-Type", type);
    if (status == 429 || status == 503)
        MHD_add_response_header(r, "Retry-After", "1");
    if (status == 401)
        MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    if (status == 405)
        MHD_add_response_header(r, "Allow", x->route <= NC_ROUTE_TEXT ? "POST" : "GET");
    if (atomic_load(&x->server->draining))
        MHD_add_response_header(r, "Connection", "close");
    nc_metrics_request(&x->server->metrics, x->route, status);
    x->answered = true;
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)status, r);
    MHD_destroy_response(r);
    return result;
}

enum MHD_Result nc_exchange_error(nc_exchange *x, int status, const char *message, const char *param, const char *code)
{
    nc_buf body = { 0 };
    nc_openai_error(&body, status, message, param, code);
    return nc_exchange_send(x, status, "application/json", &body);
}

bool nc_exchange_is_gone(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = { .fd = info ? info->connect_fd : -1, .events = POLLRDHUP };
    return info && poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Takes as long whatever the key, so that time says nothing about it. */
static bool equal_keys(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    unsigned char difference = na != nb;
    for (size_t i = 0; i < na; i++)
        difference |= (unsigned char)(a[i] ^ b[nb ? i % nb : 0]);
    return !difference;
}

static bool has_key(const nc_exchange *x)
{
    const char *key = x->server->o.api_key, *given = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Authorization");
    if (!key || !*key)
        return true;
    return given && nc_starts_with(given, "Bearer ") && equal_keys(given + 7, key);
}

static int route_of(const char *url)
{
    for (int i = 0; i < NC_ROUTE_OTHER; i++)
        if (!strcmp(url, nc_route_names[i]))
            return i;
    return NC_ROUTE_OTHER;
}

/* ---- the small routes ---- */
static enum MHD_Result answer_models(nc_exchange *x)
{
    nc_buf b = { 0 };
    nc_buf_adds(&b, "{\"object\": \"list\", \"data\": [{\"id\": ");
    nc_buf_json_string(&b, nc_str_of(x->server->name));
    nc_buf_printf(&b, ", \"object\": \"model\", \"created\": %lld, \"owned_by\": \"nunchi\", \"max_model_len\": %d}]}", (long long)x->server->created,
                  nc_engine_max_length(nc_session_engine(x->server->session)));
    return nc_exchange_send(x, 200, "application/json", &b);
}

static enum MHD_Result answer_health(nc_exchange *x)
{
    nc_buf b = { 0 };
    bool draining = atomic_load(&x->server->draining);
    nc_buf_adds(&b, draining ? "{\"status\": \"stopping\"}" : "{\"status\": \"ok\"}");
    return nc_exchange_send(x, draining ? 503 : 200, "application/json", &b);
}

static enum MHD_Result answer_metrics(nc_exchange *x)
{
    nc_buf b = { 0 };
    nc_engine_stats stats;
    nc_engine_get_stats(nc_session_engine(x->server->session), &stats);
    nc_metrics_write(&x->server->metrics, nc_route_names, NC_ROUTES, &stats, atomic_load(&x->server->open), &b);
    return nc_exchange_send(x, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

/* ---- beginning ---- */
static nc_exchange *begin(nc_server *s, struct MHD_Connection *c, const char *url)
{
    nc_exchange *x = nc_xcalloc(1, sizeof *x);
    *x = (nc_exchange){ .server = s, .connection = c, .route = route_of(url) };
    atomic_fetch_add(&s->open, 1);
    return x;
}

static size_t body_limit(const nc_server *s) { return s->o.limits.body_bytes; }

static enum MHD_Result refuse_length(nc_exchange *x)
{
    char message[128];
    snprintf(message, sizeof message, "request body: larger than the %zu bytes this server takes", body_limit(x->server));
    return nc_exchange_error(x, 413, message, NULL, "body_too_large");
}

static enum MHD_Result check_first(nc_exchange *x, const char *url, const char *method)
{
    nc_server *s = x->server;
    char message[256];
    bool posts = x->route <= NC_ROUTE_TEXT;
    if (!has_key(x))
        return nc_exchange_error(x, 401, "the API key is missing or wrong; send Authorization: Bearer KEY", NULL, "invalid_api_key");
    if (x->route == NC_ROUTE_OTHER) {
        snprintf(message, sizeof message, "no route %.100s; there are POST /v1/chat/completions, /v1/completions, GET /v1/models, /health, /metrics", url);
        return nc_exchange_error(x, 404, message, NULL, NULL);
    }
    if (strcmp(method, posts ? "POST" : "GET")) {
        snprintf(message, sizeof message, "%s takes %s", nc_route_names[x->route], posts ? "POST" : "GET");
        return nc_exchange_error(x, 405, message, NULL, NULL);
    }
    if (!posts)
        return MHD_YES;              /* answered at the next call: libmicrohttpd closes a connection whose answer comes before the request is read */
    if (atomic_load(&s->draining))
        return nc_exchange_error(x, 503, "the server is shutting down", NULL, NULL);
    if (atomic_load(&s->open) > s->o.requests)
        return nc_exchange_error(x, 503, "too many requests are open; try again later", NULL, "overloaded");
    const char *length = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Content-Length");
    int64_t n = 0;
    if (length && nc_parse_int(length, &n) && n > 0 && (uint64_t)n > body_limit(s))
        return refuse_length(x);
    return MHD_YES;
}

/* ---- the body ---- */
static enum MHD_Result take_body(nc_exchange *x, const char *data, size_t *size)
{
    nc_server *s = x->server;
    size_t n = *size;
    *size = 0;
    x->counted += n;
    size_t all = atomic_fetch_add(&s->body_bytes, n) + n;
    if (x->counted > 2 * body_limit(s) + (1 << 20))
        return MHD_NO;
    if (x->counted > body_limit(s) || all > s->o.body_total) {
        x->too_large = true;
        nc_buf_free(&x->body);
    }
    if (!x->too_large)
        nc_buf_add(&x->body, data, n);
    return MHD_YES;
}

enum MHD_Result nc_on_request(void *server, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data, size_t *size, void **state)
{
    nc_exchange *x = *state;
    (void)version;
    if (!x) {
        *state = x = begin(server, c, url);
        return check_first(x, url, method);
    }
    if (*size)
        return take_body(x, data, size);
    if (x->answered)
        return MHD_YES;
    if (x->route > NC_ROUTE_TEXT)
        return x->route == NC_ROUTE_MODELS ? answer_models(x) : x->route == NC_ROUTE_HEALTH ? answer_health(x) : answer_metrics(x);
    x->arrived = nc_now();
    if (x->too_large)
        return x->counted > body_limit(x->server) ? refuse_length(x) : nc_exchange_error(x, 503, "too many large requests are being read; try again later", NULL, "overloaded");
    return nc_answer_request(x);
}

void nc_on_completed(void *server, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
    nc_server *s = server;
    nc_exchange *x = *state;
    (void)c;
    if (!x)
        return;
    if (x->answered && x->arrived > 0)
        nc_metrics_observe(&s->metrics, &s->metrics.seconds, nc_now() - x->arrived);
    if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        nc_debug("%s: the connection ended early (%d)", nc_route_names[x->route], (int)why);
    if (!x->answered)
        nc_metrics_request(&s->metrics, x->route, why == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED ? 408 : 499);
    atomic_fetch_sub(&s->body_bytes, x->counted);
    nc_buf_free(&x->body);
    free(x);
    *state = NULL;
    atomic_fetch_sub(&s->open, 1);
}
