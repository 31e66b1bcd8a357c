/* http_client.h - one request to a server on this machine, for the demo and tests. HTTP/1.1 without keep-alive, no TLS. */
#ifndef NC_CLI_HTTP_CLIENT_H
#define NC_CLI_HTTP_CLIENT_H
#include "base/str.h"

/* body NULL: GET. The answer's body is appended to out (at most 64 MiB), its code goes to *status. seconds bounds each wait. */
int nc_http_request(const char *host, int port, const char *path, const nc_str *body, double seconds, int *status, nc_buf *out, nc_error *e);
#endif
