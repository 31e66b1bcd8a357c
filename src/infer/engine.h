/* engine.h - continuous batching: jobs go in, tokens come out, one thread owns the model's programs and the cache.
 *
 * Every step runs one program over rows of many sequences: the next token of each that is writing, and chunks of the prompts of those that are not yet there, up to
 * step_tokens rows. Programs are built for a few capacities beforehand and share one block of memory; the cache is laid out beforehand too, so that
 * nc_engine_get_stats tells what it will ever take. A sequence is admitted when pages for its prompt and all it may write are free; until then it waits in order.
 * What a job's tokens are depends on the job and the weights alone (DESIGN, idea 4): not on what else runs, on chunks, or on threads.
 *
 * Media run through the tower once for each content (key: hash of pixels), before the chunk that splices their rows; rows are kept under a budget.
 * Functions here may be called from any thread; callbacks run on the engine's thread and must not wait.
 */
#ifndef NC_INFER_ENGINE_H
#define NC_INFER_ENGINE_H
#include "front/conversation.h"
#include "infer/kv_pages.h"
#include "infer/sampler.h"
#include "load/load.h"

typedef struct nc_engine nc_engine;

typedef struct nc_engine_options {   /* 0: the default */
    int sequences;                   /* texts written at once; 16 */
    int max_length;                  /* rows of one sequence, prompt and text; the model's own bound */
    size_t cache_bytes;              /* of keys and values; what sequences x max_length take, at most 1 GiB */
    int step_tokens;                 /* rows of one step; 512 */
    int max_waiting;                 /* jobs that may wait; 256 */
    int tower_pictures;              /* pictures of one run of the tower; 8 */
    size_t feature_bytes;            /* of tower rows kept for later jobs; 64 MiB */
    nc_pool *pool;                   /* NULL: the engine makes its own; else the caller's, used by nobody else meanwhile */
    int threads;                     /* of its own pool; 0: all CPUs */
} nc_engine_options;

/* Pictures behind one placeholder, shared by the jobs that show them. Freed with the last reference. */
typedef struct nc_pictures nc_pictures;
nc_pictures *nc_pictures_new(const nc_visual *v);   /* copies the pixels */
nc_pictures *nc_pictures_keep(nc_pictures *p);
void nc_pictures_free(nc_pictures *p);              /* NULL is allowed */
const nc_media *nc_pictures_media(const nc_pictures *p);

typedef enum nc_finish { NC_FINISH_NONE, NC_FINISH_STOP, NC_FINISH_LENGTH, NC_FINISH_CANCELLED, NC_FINISH_ERROR } nc_finish;

/* One request: a prompt and n texts after it. Everything pointed to is copied, pictures are kept. */
typedef struct nc_job {
    const int32_t *prompt;
    int prompt_count;                /* placeholders already repeated once a feature row */
    nc_pictures *const *pictures;    /* in order of their placeholders */
    int picture_count;
    int choices;                     /* texts, at least 1 */
    int max_tokens;                  /* of each */
    nc_sample_options sample;        /* its `choice` is filled in */
    const int32_t *stop_ids;         /* tokens that end a text (not handed out unless keep_stop) */
    int stop_id_count;
    bool keep_stop;
    /* Encoder-decoder models: what the encoder reads where that is text; pictures have no placeholders then. The prompt is the decoder's. */
    const int32_t *source;
    int source_count;
    /* Beam search: beams 0 or 1: none. The choices best texts come when all has ended, best first; with a temperature continuations are drawn. */
    int beams;
    enum { NC_EARLY_FALSE, NC_EARLY_TRUE, NC_EARLY_NEVER } early_stopping;
    double length_penalty;
    void (*score)(void *context, int choice, double score);   /* of a text found by beams, before its end; may be NULL */
    /* A token of one of the texts; false ends that text (NC_FINISH_STOP). */
    bool (*token)(void *context, int choice, const nc_token *t);
    /* The end of one of the texts; e is NULL unless finish is NC_FINISH_ERROR. Called once for each choice; nothing of the job comes after the last. */
    void (*done)(void *context, int choice, nc_finish finish, const nc_error *e);
    void *context;
} nc_job;

/* loaded stays the caller's and must outlive the engine; its weights are filled. */
int nc_engine_new(nc_loaded *loaded, const nc_engine_options *o, nc_engine **out, nc_error *e);
void nc_engine_free(nc_engine *g);                  /* cancels what runs, ends the thread; NULL is allowed */
/* Hands a job over. NC_EINVAL: it can never run (ids, lengths; the message says why); NC_ELIMIT: too many wait; NC_ECANCELLED: the engine is closing. */
int nc_engine_submit(nc_engine *g, const nc_job *job, uint64_t *id, nc_error *e);
void nc_engine_cancel(nc_engine *g, uint64_t id);   /* unknown ids are fine */
void nc_engine_close(nc_engine *g);                 /* takes no more jobs; those it has go on */
int nc_engine_max_length(const nc_engine *g);
nc_loaded *nc_engine_loaded(const nc_engine *g);

typedef struct nc_engine_stats {
    int running, waiting;                           /* sequences */
    int64_t pages, pages_used;
    uint64_t prompt_tokens, new_tokens, steps, step_rows, media_computed, media_reused, jobs, cancelled;
    double busy_seconds;                            /* inside steps */
    size_t cache_bytes, program_bytes, feature_bytes;   /* planned; feature_bytes: held now */
} nc_engine_stats;
void nc_engine_get_stats(nc_engine *g, nc_engine_stats *out);
#endif
