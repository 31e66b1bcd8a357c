/* metrics.c - see metrics.h. */
#include "serve/metrics.h"

#include <inttypes.h>

#include "base/clock.h"

static const double bounds[NC_METRIC_BUCKETS] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60 };
static const int codes[NC_METRIC_CODES] = { 200, 400, 401, 404, 405, 413, 429, 499, 500, 503, 408, 0 };

void nc_metrics_init(nc_metrics *m)
{
    *m = (nc_metrics){ .started = nc_wall_time() };
    pthread_mutex_init(&m->lock, NULL);
}

void nc_metrics_free(nc_metrics *m) { pthread_mutex_destroy(&m->lock); }

void nc_metrics_request(nc_metrics *m, int route, int code)
{
    int i = 0;
    while (codes[i] && codes[i] != code)
        i++;
    pthread_mutex_lock(&m->lock);
    m->requests[route][i]++;
    pthread_mutex_unlock(&m->lock);
}

void nc_metrics_observe(nc_metrics *m, nc_histogram *h, double seconds)
{
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < NC_METRIC_BUCKETS; i++)
        h->bucket[i] += seconds <= bounds[i];
    h->count++;
    h->sum += seconds;
    pthread_mutex_unlock(&m->lock);
}

static void head(nc_buf *out, const char *name, const char *type, const char *help)
{
    nc_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void value(nc_buf *out, const char *name, const char *type, const char *help, double v)
{
    head(out, name, type, help);
    nc_buf_printf(out, "%s ", name);
    nc_buf_json_double(out, v);
    nc_buf_addc(out, '\n');
}

static void histogram(nc_buf *out, const char *name, const char *help, const nc_histogram *h)
{
    head(out, name, "histogram", help);
    for (int i = 0; i < NC_METRIC_BUCKETS; i++)
        nc_buf_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i], h->bucket[i]);
    nc_buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, h->count, name);
    nc_buf_json_double(out, h->sum);
    nc_buf_printf(out, "\n%s_count %" PRIu64 "\n", name, h->count);
}

void nc_metrics_write(nc_metrics *m, const char *const *routes, int route_count, const nc_engine_stats *s, int connections, nc_buf *out)
{
    pthread_mutex_lock(&m->lock);
    head(out, "nunchi_requests_total", "counter", "Requests answered, by route and status (499: the client went away).");
    for (int r = 0; r < route_count; r++)
        for (int i = 0; i < NC_METRIC_CODES; i++)
            if (m->requests[r][i])
                nc_buf_printf(out, "nunchi_requests_total{route=\"%s\",code=\"%d\"} %" PRIu64 "\n", routes[r], codes[i], m->requests[r][i]);
    histogram(out, "nunchi_request_seconds", "Time from the request's last byte to its answer's end.", &m->seconds);
    histogram(out, "nunchi_first_text_seconds", "Time from the request's last byte to the first text.", &m->first);
    histogram(out, "nunchi_piece_seconds", "Time between two pieces of a streamed text.", &m->wait_each);
    pthread_mutex_unlock(&m->lock);
    value(out, "nunchi_prompt_tokens_total", "counter", "Tokens of prompts read.", (double)s->prompt_tokens);
    value(out, "nunchi_generated_tokens_total", "counter", "Tokens written.", (double)s->new_tokens);
    value(out, "nunchi_steps_total", "counter", "Steps of the engine.", (double)s->steps);
    value(out, "nunchi_step_rows_total", "counter", "Rows of all steps; over steps: the mean batch.", (double)s->step_rows);
    value(out, "nunchi_busy_seconds_total", "counter", "Time inside steps.", s->busy_seconds);
    value(out, "nunchi_media_computed_total", "counter", "Pictures and videos seen by the tower.", (double)s->media_computed);
    value(out, "nunchi_media_reused_total", "counter", "Pictures and videos whose rows were kept from before.", (double)s->media_reused);
    value(out, "nunchi_cancelled_total", "counter", "Jobs cancelled.", (double)s->cancelled);
    value(out, "nunchi_sequences_running", "gauge", "Texts being written or read.", s->running);
    value(out, "nunchi_requests_waiting", "gauge", "Requests in the queue.", s->waiting);
    value(out, "nunchi_connections", "gauge", "Requests open.", connections);
    value(out, "nunchi_cache_pages", "gauge", "Pages of the key-value cache.", (double)s->pages);
    value(out, "nunchi_cache_pages_used", "gauge", "Pages in use.", (double)s->pages_used);
    value(out, "nunchi_cache_bytes", "gauge", "Bytes of the key-value cache.", (double)s->cache_bytes);
    value(out, "nunchi_program_bytes", "gauge", "Bytes of the programs' shared memory.", (double)s->program_bytes);
    value(out, "nunchi_feature_bytes", "gauge", "Bytes of tower rows kept.", (double)s->feature_bytes);
    value(out, "process_start_time_seconds", "gauge", "Start of the server since 1970.", m->started);
}
