/* request.h - the JSON body of an OpenAI request, checked and made into what infer/ takes.
 *
 * Source: OpenAI's API reference (chat completions, completions), with top_k, min_p and repetition_penalty as vLLM names them. A null value counts as absent; keys
 * without meaning here (user, store, metadata ...) are passed over; unknown keys, kinds and ranges are refused by name, with the place in the body.
 * Media come as data: URIs only: nothing is ever fetched.
 */
#ifndef NC_SERVE_REQUEST_H
#define NC_SERVE_REQUEST_H
#include "infer/session.h"

typedef struct nc_request_limits {   /* 0: the default */
    size_t body_bytes;               /* 32 MiB */
    size_t media_bytes;              /* of one picture or video, decoded from base64; 24 MiB */
    int media;                       /* pictures and videos of one request; 16 */
    int choices;                     /* 8 */
    int max_tokens;                  /* a larger request is refused; the model's length */
    int messages;                    /* 1024 */
} nc_request_limits;

typedef struct nc_request {
    nc_arena *arena;                 /* holds all below */
    bool chat;
    const char *model;               /* as asked for, NULL when absent */
    nc_json *messages, *tools, *extra;   /* chat: parts are text, image, video */
    nc_attachment *attachments;
    int attachment_count;
    nc_str prompt;                   /* completions: a text, or */
    int32_t *ids;                    /* ids (prompt.p is NULL then) */
    int id_count;
    nc_generation_options options;   /* what the request leaves out comes from the defaults; may point into this request: it stays where it is */
    nc_decoding decoding;            /* generation_config.json's keys, which a request may have too */
    bool has_seed, stream, include_usage, echo;
    char param[64];                  /* after a failure: the key at fault, "" when it is the body */
} nc_request;

/* On failure *out holds only param. The body need not outlive the call. */
int nc_request_parse(nc_str body, bool chat, const nc_request_limits *limits, const nc_generation_options *defaults, nc_request *out, nc_error *e);
void nc_request_free(nc_request *r);
#endif
