/* decoding.h - how texts are written, as generation_config.json and callers' options say it, under the reference library's names.
 *
 * A set of options begins with nc_decoding_init, takes the folder's keys, then a caller's over them; arrays live in the arena given.
 */
#ifndef NC_INFER_DECODING_H
#define NC_INFER_DECODING_H
#include "base/json.h"
#include "infer/engine.h"

typedef struct nc_decoding {
    bool do_sample;
    nc_sample_options sample;        /* as when sampling; nc_decoding_apply says what of it holds */
    nc_processors process;
    int max_new_tokens, max_length;  /* 0: not given; max_length counts the prompt */
    int beams, returned, early_stopping;
    double length_penalty;
    int decoder_start, pad;          /* -1: not given */
} nc_decoding;

void nc_decoding_init(nc_decoding *d);
/* Takes every key of an object that is known; one that would change the text and is not known here is a mistake that `where` names. */
int nc_decoding_read(nc_decoding *d, nc_arena *a, const nc_json *options, const char *where, nc_error *e);
/* One key; null takes it back. Nothing happens where it is not known. */
int nc_decoding_take(nc_decoding *d, nc_arena *a, const nc_json *item, const char *where, nc_error *e);
bool nc_decoding_knows(nc_str key);
bool nc_decoding_names(nc_str key);                 /* known, refused, or known to change no text */
/* Greedy, sampling or beams into a job: sample (process points into d), beams, choices, and max_tokens where the lengths say it (0: they do not). */
void nc_decoding_apply(const nc_decoding *d, nc_job *job);
#endif
