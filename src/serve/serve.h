/* serve.h - a model folder behind OpenAI's HTTP API.
 *
 *   POST /v1/chat/completions  POST /v1/completions  GET /v1/models  GET /health  GET /metrics
 *
 * One thread a connection (libmicrohttpd) reads, checks and decodes; the engine's one thread writes all texts together. A client that goes away cancels its request.
 * SIGTERM's way: nc_serve_stop: no connection is taken any more, new requests are refused with 503, those under way are finished within grace_seconds, then cancelled.
 */
#ifndef NC_SERVE_SERVE_H
#define NC_SERVE_SERVE_H
#include "serve/request.h"

typedef struct nc_serve_options {    /* 0 and NULL: the default */
    const char *folder;              /* or a Hub id */
    const char *host;                /* 127.0.0.1 */
    int port;                        /* 8080; -1: any free one */
    const char *api_key;             /* required on every route when given */
    const char *model_name;          /* in answers; the folder's last part */
    nc_session_options session;
    nc_request_limits limits;
    int connections;                 /* at once; 256 */
    int requests;                    /* bodies being read or answered at once; 128, above: 503 */
    size_t body_total;               /* bytes of all bodies being read; 512 MiB, above: 503 */
    int idle_seconds;                /* a connection that sends or takes nothing is closed; 60 */
    int grace_seconds;               /* 30 */
    void (*ready)(void *context, const char *host, int port, const nc_session *session);   /* listening: called once */
    void *context;
} nc_serve_options;

/* Serves until nc_serve_stop; 0 after a clean stop. One at a time in a process. */
int nc_serve(const nc_serve_options *o, nc_error *e);
void nc_serve_stop(void);            /* async-signal-safe; a second call cancels what is under way */
#endif
