/* server.h - what the files of the server share. Inside src/serve only.
 *
 * serve.c: socket, daemon, start and stop. exchange.c: one request from its first header to its end: key, limits, body, route. answer.c: texts, whole or streamed.
 */
#ifndef NC_SERVE_SERVER_H
#define NC_SERVE_SERVER_H
#include <microhttpd.h>
#include <stdatomic.h>

#include "serve/metrics.h"
#include "serve/openai.h"
#include "serve/serve.h"

enum { NC_ROUTE_CHAT, NC_ROUTE_TEXT, NC_ROUTE_MODELS, NC_ROUTE_HEALTH, NC_ROUTE_METRICS, NC_ROUTE_OTHER, NC_ROUTES };

typedef struct nc_server {
    nc_serve_options o;
    nc_session *session;
    nc_metrics metrics;
    char *name;
    int64_t created;
    atomic_int open;                 /* exchanges begun and not completed */
    atomic_size_t body_bytes;        /* of bodies being read */
    atomic_bool draining, aborting;
} nc_server;

typedef struct nc_exchange {
    nc_server *server;
    struct MHD_Connection *connection;
    int route;
    nc_buf body;
    size_t counted;                  /* of server->body_bytes */
    bool too_large, answered;
    double arrived;                  /* the body is whole */
} nc_exchange;

extern const char *const nc_route_names[NC_ROUTES];

/* exchange.c: the callbacks of the daemon. */
enum MHD_Result nc_on_request(void *server, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data, size_t *size, void **state);
void nc_on_completed(void *server, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why);
enum MHD_Result nc_exchange_error(nc_exchange *x, int status, const char *message, const char *param, const char *code);
enum MHD_Result nc_exchange_send(nc_exchange *x, int status, const char *type, nc_buf *body);   /* takes the buffer */
bool nc_exchange_is_gone(struct MHD_Connection *c);              /* the client closed its side */
/* answer.c */
enum MHD_Result nc_answer_request(nc_exchange *x);
#endif
