/* engine_internal.h - what the files of the engine share: sequences, features of media, programs. Inside src/infer only.
 *
 * beams.c: beam search. engine_encoder.c: what decoders attend to, an encoder's rows or pictures. engine.c: jobs, the thread, admission. engine_step.c: choosing rows, running, sampling. engine_build.c: programs and memory. features.c: media.
 */
#ifndef NC_INFER_ENGINE_INTERNAL_H
#define NC_INFER_ENGINE_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "infer/engine.h"

enum { NC_ENGINE_PROGRAMS = 4, NC_ENGINE_MEDIA_ROWS = 1 << 20 };     /* rows of media in a step: a table of the host, not of the plan: a bound, no memory */

struct nc_pictures {
    atomic_int holders;
    nc_hash128 key;                  /* of kind, shape and pixels */
    nc_media media;
    nc_pixels *frames;
    float *pixels;
};

/* Tower rows of one content, [rows, hidden] in the compute dtype. */
typedef struct features {
    nc_hash128 key;
    void *data;
    int rows, users;                 /* users: sequences that will splice them */
    uint64_t used;                   /* step of the last use, for eviction */
    struct features *next;
} features;

typedef struct job job;
typedef struct beam_search beam_search;

/* One text being written. Its ids are the prompt and what was drawn; `done` of them are in the cache. */
typedef struct sequence {
    job *of;
    int choice, slot;                /* slot -1: not admitted */
    int32_t *ids;                    /* capacity prompt + max_tokens */
    int count, done;
    int regime;                      /* of the cached rows, as the family counts them */
    nc_sampler *sampler;
    struct sequence *next;           /* among the running */
    int take;                        /* rows of the step at hand */
    int score_row;                   /* row of the logits, -1: none */
    nc_token token;
    int status;                      /* of the draw at hand */
    nc_error error;
    bool ended;
    bool running;                    /* of a beam: among the running */
} sequence;

/* Media of a job: where its placeholders lie and, once computed, its rows. */
typedef struct job_media {
    nc_pictures *pictures;
    features *rows;
    int first, count;                /* its placeholders among the job's: the first one's number, how many */
} job_media;

struct job {
    uint64_t id;
    nc_job ask;                      /* pointers are the job's own copies */
    int32_t *prompt;
    int32_t *stop_ids;
    job_media *media;
    nc_positions positions;          /* table NULL: the indices */
    nc_views views;                  /* of NULL: nothing is seen by cross attention */
    sequence *sequence;              /* texts of them */
    int texts;                       /* beams, else ask.choices */
    beam_search *beams;              /* NULL: none */
    nc_arena *arena;                 /* of the processors and the source */
    int cross_slot, cross_rows;      /* the encoder's rows, the pictures'; slot -1: none yet */
    int live;                        /* sequences not ended yet */
    bool admitted;
    int64_t pages;                   /* promised to forks that are still to come */
    atomic_bool cancelled;
    job *next;                       /* in the queue */
};

struct nc_engine {
    nc_loaded *loaded;
    nc_model *model;
    nc_engine_options o;
    nc_pool *pool;
    bool own_pool;
    const nc_kernels *kernels;
    nc_dtype compute;
    nc_head head;
    int max_length;
    nc_kv *kv;
    nc_program *program[NC_ENGINE_PROGRAMS];
    int capacity[NC_ENGINE_PROGRAMS], programs;
    nc_program *encoder;             /* what fills cross slots; NULL: none yet */
    struct { char name[48]; int64_t n; } encoder_count[48];      /* what it has room for */
    int encoder_counts;
    nc_program *tower;
    int64_t tower_units;             /* pictures or patches it has room for */
    int tower_height, tower_width;   /* of the pictures, where its graph is made for one size */
    void *tower_memory;              /* its own where pictures come as patches, whose number shows late; NULL: the programs' */
    size_t tower_bytes;
    void *memory;                    /* of all programs: one runs at a time */
    size_t memory_bytes;
    nc_batch *batch;
    features *features;
    sequence **row_of;               /* sequence of each scored row */
    nc_seq *stretch;                 /* of the step at hand, each with its row of stretch_media */
    nc_media *stretch_media;         /* room for what a step may splice */
    int stretch_media_capacity;
    sequence *running;               /* in order of admission */
    int running_count;
    int64_t promised;                /* pages kept free for forks */
    int slots_promised;              /* texts of admitted jobs, not ended */
    int rotate;                      /* whose prompt goes first */

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;            /* guards what follows */
    pthread_cond_t wake;
    job *first, *last;               /* waiting jobs */
    int waiting;
    job **active;                    /* jobs not ended, waiting or running */
    int active_count, active_capacity;
    uint64_t next_id;
    bool closing, stopping;
    nc_engine_stats stats;
};

/* engine_build.c */
int nc_engine_build(nc_engine *g, nc_error *e);
void nc_engine_unbuild(nc_engine *g);
/* Room for a frame of so many units, such as this one: built anew where patches are more than ever before, or pictures of another size than its graph is made for. */
int nc_engine_tower(nc_engine *g, int64_t units, const nc_pixels *picture, nc_error *e);
nc_value *nc_engine_media_rows(const nc_engine *g, nc_build *b); /* the tower's rows as a program's input, by the count "media" */
/* features.c */
int nc_engine_features(nc_engine *g, job *j, nc_error *e);       /* rows of every media of the job, computed or found; pinned */
void nc_engine_features_done(nc_engine *g, job *j);              /* unpinned */
void nc_engine_features_free(nc_engine *g);
int nc_engine_placeholders(const nc_model *m, const int32_t *ids, int count);   /* how many of the ids stand for media rows */
/* The media that rows [from, from + count) of the job's prompt splice, into out (room for all of the job's); *media_row: rows of the first one spliced before. */
int nc_engine_stretch_media(const nc_engine *g, const job *j, int from, int count, nc_media *out, int *media_row);
/* engine_encoder.c */
int64_t nc_engine_cross_pages(const nc_engine *g);               /* of one job, for the cache's size: what its encoder or its pictures take */
int nc_engine_check_source(const nc_engine *g, const nc_job *ask, int *rows, nc_error *e);
/* What the job's prompt sees of its pictures, and the rows they take in its cross slot; none for families that splice them. */
int nc_engine_find_views(const nc_engine *g, const nc_job *ask, nc_views *out, int *rows, nc_error *e);
int nc_engine_encode(nc_engine *g, job *j, nc_error *e);         /* the encoder's rows, or the pictures' (after nc_engine_features), as keys and values in the job's cross slot */
/* beams.c */
beam_search *nc_beams_new(const nc_job *ask);
void nc_beams_free(beam_search *b);
void nc_beams_look(const nc_engine *g, sequence *s, float *logits, int vocabulary);      /* a beam's continuations; logits are overwritten. Any thread. */
void nc_beams_advance(nc_engine *g, job *j);                     /* after all beams of the job have looked; may end it */
/* engine_step.c: one step over the running sequences; false when none had rows. */
bool nc_engine_step(nc_engine *g);
/* engine.c */
void nc_engine_run(nc_engine *g, sequence *s);                   /* joins those that run */
void nc_engine_end(nc_engine *g, sequence *s, nc_finish finish, const nc_error *e);      /* one text */
void nc_engine_release(nc_engine *g, job *j);                    /* frees the job when all its texts have ended */
void nc_engine_end_all(nc_engine *g, job *j, nc_finish finish, const nc_error *e);       /* its texts; the job is not released */
void nc_engine_end_job(nc_engine *g, job *j, nc_finish finish, const nc_error *e);
#endif
