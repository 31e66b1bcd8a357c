/* session.h - a folder ready to be talked to: model, engine, conversation and processors in one hand.
 *
 * The server, chat, caption and evaluation all begin here, so they read messages and media in one way.
 */
#ifndef NC_INFER_SESSION_H
#define NC_INFER_SESSION_H
#include "infer/generation.h"

typedef struct nc_session nc_session;

typedef struct nc_session_options {
    const char *dtype;               /* "f32", "bf16"; NULL: bf16 where the checkpoint's dtype is a 16-bit one, else f32 */
    nc_engine_options engine;
    const char *template_name;       /* of front/conversation.h; NULL: the folder's own */
    nc_visual_options visual;        /* frames 0: what the folder says */
    const char *ignore_keys;
    int threads;
} nc_session_options;

int nc_session_open(const char *folder_or_id, const nc_session_options *o, nc_session **out, nc_error *e);
void nc_session_close(nc_session *s);                          /* NULL is allowed */
nc_engine *nc_session_engine(const nc_session *s);
nc_loaded *nc_session_loaded(const nc_session *s);
/* As generation_config.json (or, without one, config.json) wants it: sampling where do_sample is true, beams, penalties, lengths. What it points to is the session's. */
void nc_session_defaults(const nc_session *s, nc_generation_options *out);
const nc_decoding *nc_session_decoding(const nc_session *s);

/* A picture or video beside a message: a file's bytes, or its path when bytes is NULL. name is for errors. */
typedef struct nc_attachment { bool is_video; const char *name; const void *bytes; size_t n; } nc_attachment;

/* A request made ready: ids and pictures. */
typedef struct nc_reading {
    nc_arena *arena;
    nc_prompt prompt;
    nc_pictures **pictures;
} nc_reading;
/* messages as front/conversation.h takes them, attachments in the order of their parts; tools and extra (template variables) may be NULL. Decodes on the caller's thread. */
int nc_session_read(nc_session *s, const nc_json *messages, const nc_json *tools, const nc_json *extra, const nc_attachment *at, int count, nc_reading *out, nc_error *e);
/* A running text to be continued. */
int nc_session_read_text(nc_session *s, nc_str text, nc_reading *out, nc_error *e);
void nc_reading_free(nc_reading *r);

/* Reads, writes one answer and waits for its end; each piece of text goes to `piece` too when given (false there ends the text). */
typedef struct nc_answer { nc_buf text; int prompt_tokens, new_tokens; nc_finish finish; double first_seconds, seconds; } nc_answer;   /* first_seconds: until the first piece */
typedef bool nc_answer_fn(void *context, nc_str piece);
/* Encoder-decoder models: a text for the encoder (with pictures where the model takes them), or pictures for it and a beginning of the decoder's text (a task's token, or words
 * after the start token; may be empty).
 * nc_session_read and nc_session_read_text come here by themselves. */
int nc_session_read_source(nc_session *s, nc_str text, const nc_attachment *at, int count, nc_reading *out, nc_error *e);
int nc_session_ask(nc_session *s, const nc_json *messages, const nc_attachment *at, int count, const nc_generation_options *o, nc_answer_fn *piece, void *context,
                   nc_answer *out, nc_error *e);
/* One user message: the attachments, then the text. */
int nc_session_caption(nc_session *s, const char *text, const nc_attachment *at, int count, const nc_generation_options *o, nc_answer_fn *piece, void *context,
                       nc_answer *out, nc_error *e);
nc_json *nc_session_message(nc_arena *a, const char *role, const char *text, const nc_attachment *at, int count);   /* {"role", "content": [parts]}; without media a string */
#endif
