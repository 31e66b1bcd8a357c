/* metrics.h - what the server counts, in Prometheus' text format (exposition format 0.0.4). */
#ifndef NC_SERVE_METRICS_H
#define NC_SERVE_METRICS_H
#include <pthread.h>

#include "infer/engine.h"

enum { NC_METRIC_BUCKETS = 14, NC_METRIC_ROUTES = 8, NC_METRIC_CODES = 12 };

typedef struct nc_histogram { uint64_t bucket[NC_METRIC_BUCKETS], count; double sum; } nc_histogram;

typedef struct nc_metrics {
    pthread_mutex_t lock;
    uint64_t requests[NC_METRIC_ROUTES][NC_METRIC_CODES];
    nc_histogram seconds, first, wait_each;      /* whole requests; until the first text; between pieces */
    double started;
} nc_metrics;

void nc_metrics_init(nc_metrics *m);
void nc_metrics_free(nc_metrics *m);
void nc_metrics_request(nc_metrics *m, int route, int code);
void nc_metrics_observe(nc_metrics *m, nc_histogram *h, double seconds);
/* routes: names of the route numbers. */
void nc_metrics_write(nc_metrics *m, const char *const *routes, int route_count, const nc_engine_stats *engine, int connections, nc_buf *out);
#endif
