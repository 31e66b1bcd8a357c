/* openai.h - answers in OpenAI's JSON: whole, in chunks for server-sent events, errors. Source: OpenAI's API reference. */
#ifndef NC_SERVE_OPENAI_H
#define NC_SERVE_OPENAI_H
#include "serve/request.h"

/* What all chunks of one answer share. */
typedef struct nc_reply {
    char id[48];                     /* "chatcmpl-..." */
    const char *model;
    int64_t created;
    const nc_tokenizer *tokenizer;
    const nc_request *request;
    struct nc_reply_choice { nc_buf text, logprobs; int tokens; nc_finish finish; bool begun; } *choice;   /* logprobs: JSON entries so far */
} nc_reply;
void nc_reply_init(nc_reply *r, const nc_request *request, const char *model, const nc_tokenizer *tokenizer);
void nc_reply_free(nc_reply *r);

/* A piece into the reply that will be written whole. */
void nc_reply_take(nc_reply *r, const nc_piece *p);
void nc_reply_whole(const nc_reply *r, int prompt_tokens, int new_tokens, nc_buf *out);
/* A piece as events ("data: {...}\n\n"), the first one of a choice led by its role. */
void nc_reply_event(nc_reply *r, const nc_piece *p, nc_buf *out);
/* The end of the stream: usage when asked for, then [DONE]. */
void nc_reply_end(const nc_reply *r, int prompt_tokens, int new_tokens, nc_buf *out);

/* {"error": {...}} of an HTTP status; param and code may be NULL. */
void nc_openai_error(nc_buf *out, int status, const char *message, const char *param, const char *code);
#endif
