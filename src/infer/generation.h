/* generation.h - a running request as the rest of the program sees it: text in pieces, ends, counts; and stop strings.
 *
 * Tokens arrive on the engine's thread, which turns them into text (whole characters only) and looks for stop strings; a piece is held back while it may be the
 * beginning of one. Whoever asked takes pieces from a queue, waiting as long as it likes; freeing a generation cancels what is left of it.
 */
#ifndef NC_INFER_GENERATION_H
#define NC_INFER_GENERATION_H
#include "infer/decoding.h"

/* Looks for stop strings in a text that comes in pieces. */
typedef struct nc_stops { nc_str *at; int count; nc_buf held; } nc_stops;
void nc_stops_init(nc_stops *s, const nc_str *strings, int count);   /* copies; empty strings are left out */
void nc_stops_free(nc_stops *s);
/* Appends to out what of held text and piece is certain; true when a stop string was met (what stood before it is out, the rest dropped). */
bool nc_stops_add(nc_stops *s, nc_str piece, nc_buf *out);
void nc_stops_flush(nc_stops *s, nc_buf *out);      /* the text has ended: what was held is text */

typedef struct nc_generation_options {
    nc_sample_options sample;
    int max_tokens;                  /* 0: as many as fit, at most 1024; or max_length's */
    int max_length;                  /* of prompt and text; 0: not given */
    int choices;                     /* 0: 1 */
    int beams, early_stopping;       /* 0 or 1: no beams; nc_job's */
    double length_penalty;
    const nc_str *stop;              /* stop strings, borrowed during start */
    int stop_count;
    bool keep_special;               /* special tokens appear in the text */
    bool ignore_end;                 /* end tokens do not end (benchmarks) */
} nc_generation_options;

/* What the model reads; source: what an encoder reads that stands before the decoder. */
typedef struct nc_prompt { const int32_t *ids; int count; nc_pictures *const *pictures; int picture_count; const int32_t *source; int source_count; } nc_prompt;

/* Some text of one choice, with the tokens it came with. */
typedef struct nc_piece {
    int choice;
    nc_buf text;
    nc_token *tokens;
    int token_count, token_capacity;
    nc_finish finish;                /* NC_FINISH_NONE: more will come */
    nc_error error;                  /* with NC_FINISH_ERROR */
    struct nc_piece *next;
} nc_piece;
void nc_piece_free(nc_piece *p);

typedef struct nc_generation nc_generation;
/* One text as a set of decoding options says; what out points to lies in d. */
void nc_generation_by(const nc_decoding *d, nc_generation_options *out);
/* End tokens are those of generation_config.json and config.json, and the tokenizer's eos token. The tokenizer may be NULL: pieces have tokens only. */
int nc_generation_start(nc_engine *g, const nc_prompt *prompt, const nc_generation_options *o, nc_generation **out, nc_error *e);
/* The next piece, the caller's to free; NULL after `seconds` (negative: for ever) or when every choice has ended. */
nc_piece *nc_generation_next(nc_generation *x, double seconds);
bool nc_generation_ended(nc_generation *x);         /* every choice's last piece was handed out */
void nc_generation_cancel(nc_generation *x);
void nc_generation_free(nc_generation *x);          /* cancels; waits for the engine to let go (a step at most); NULL is allowed */
int nc_generation_prompt_tokens(const nc_generation *x);
int nc_generation_new_tokens(nc_generation *x);     /* of all choices so far */
/* The ids that end a text. */
void nc_end_ids(const nc_loaded *l, nc_ids *out);
#endif
