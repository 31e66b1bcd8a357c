/* verb_serve.c - a model folder behind OpenAI's HTTP API, until SIGTERM or ^C. */
#include <stdlib.h>

#include "base/log.h"
#include "cli/cli.h"
#include "serve/serve.h"

static const nc_cli_option options[] = {
    { "host", "ADDRESS", "127.0.0.1" },
    { "port", "N", "8080; 0: any free one" },
    { "api-key", "KEY", "asked for on every route (also NUNCHI_API_KEY)" },
    { "name", "NAME", "the model's name in answers; the folder's" },
    { "dtype", "TYPE", "f32 or bf16; the checkpoint's" },
    { "sequences", "N", "texts written at once; 16" },
    { "max-length", "N", "tokens of prompt and text together; the model's" },
    { "max-tokens", "N", "largest max_tokens a request may ask for" },
    { "cache-mb", "N", "memory for keys and values" },
    { "max-body-mb", "N", "largest request; 32" },
    { "max-media-mb", "N", "largest picture or video; 24" },
    { "max-media", "N", "pictures and videos of one request; 16" },
    { "connections", "N", "at once; 256" },
    { "requests", "N", "answered or read at once, more get 503; 128" },
    { "grace", "SECONDS", "for what is under way when it ends; 30" },
    { "frames", "N", "taken of a video; what the folder says" },
    { "template", "NAME", "a built-in chat template instead of the folder's" },
    { "threads", "N", "threads, all CPUs by default" },
    { NULL, NULL, NULL },
};

static void ready(void *context, const char *host, int port, const nc_session *session)
{
    const char *folder = context;
    nc_engine_stats stats;
    char cache[32];
    nc_engine_get_stats(nc_session_engine(session), &stats);
    nc_info("%s on http://%s:%d (cache %s, %d tokens at most)", folder, host, port, nc_human_bytes((double)stats.cache_bytes, cache), nc_engine_max_length(nc_session_engine(session)));
}

static int run(nc_cli *c, nc_error *e)
{
    int64_t port, sequences, length, tokens, cache, body, media, count, connections, requests, grace, frames, threads;
    const char *key = nc_cli_get(c, "api-key");
    NC_TRY(nc_cli_int(c, "port", 0, 65535, 8080, &port, e));
    NC_TRY(nc_cli_int(c, "sequences", 1, 4096, 0, &sequences, e));
    NC_TRY(nc_cli_int(c, "max-length", 1, 1 << 24, 0, &length, e));
    NC_TRY(nc_cli_int(c, "max-tokens", 1, 1 << 24, 0, &tokens, e));
    NC_TRY(nc_cli_int(c, "cache-mb", 1, 1 << 24, 0, &cache, e));
    NC_TRY(nc_cli_int(c, "max-body-mb", 1, 1 << 14, 0, &body, e));
    NC_TRY(nc_cli_int(c, "max-media-mb", 1, 1 << 14, 0, &media, e));
    NC_TRY(nc_cli_int(c, "max-media", 1, 1 << 14, 0, &count, e));
    NC_TRY(nc_cli_int(c, "connections", 1, 65535, 0, &connections, e));
    NC_TRY(nc_cli_int(c, "requests", 1, 65535, 0, &requests, e));
    NC_TRY(nc_cli_int(c, "grace", 0, 86400, 0, &grace, e));
    NC_TRY(nc_cli_int(c, "frames", 1, 1024, 0, &frames, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    nc_serve_options o = {
        .folder = c->word[0], .host = nc_cli_get(c, "host"), .port = port ? (int)port : -1, .api_key = key ? key : getenv("NUNCHI_API_KEY"), .model_name = nc_cli_get(c, "name"),
        .session = { .dtype = nc_cli_get(c, "dtype"), .engine = { .sequences = (int)sequences, .max_length = (int)length, .cache_bytes = (size_t)cache << 20 },
                     .template_name = nc_cli_get(c, "template"), .visual = { .frames = (int)frames }, .threads = (int)threads },
        .limits = { .body_bytes = (size_t)body << 20, .media_bytes = (size_t)media << 20, .media = (int)count, .max_tokens = (int)tokens },
        .connections = (int)connections, .requests = (int)requests, .grace_seconds = (int)grace, .ready = ready, .context = c->word[0],
    };
    nc_cli_interrupt(nc_serve_stop);
    nc_cli_terminate(nc_serve_stop);
    int status = nc_serve(&o, e);
    if (status == 0)
        nc_info("stopped");
    return status;
}

const nc_verb nc_verb_serve = { "serve", "FOLDER", "OpenAI's HTTP API over a model folder",
    "POST /v1/chat/completions, /v1/completions; GET /v1/models, /health, /metrics. Pictures and videos come as data: URIs. SIGTERM finishes what is under way.",
    options, 1, 1, false, run };
