/* build.h - from a model's stages to something that runs.
 *
 * nc_build is what a stage sees while it writes its mathematics: the graph, the batch's inputs by name, the sites' values, the cache. nc_program is the result: a
 * graph with its plan, whose inputs are bound by name to the tables of a batch at each run.
 */
#ifndef NC_NN_BUILD_H
#define NC_NN_BUILD_H
#include "graph/ops.h"
#include "graph/spans.h"
#include "nn/batch.h"
#include "nn/site.h"

typedef struct nc_program nc_program;
typedef struct nc_build nc_build;
typedef nc_value *nc_point_fn(void *context, nc_build *b, nc_value *x, const char *point);

struct nc_build {
    nc_graph *g;
    nc_program *program;
    nc_cache *cache;             /* NULL: no cache, keys are the rows at hand */
    bool training, any_size, masked;
    const char *part;            /* what stands before the names of inputs, counts and spans: a second tower has its own (nc_batch_part); NULL: nothing */
    bool frozen;                 /* batch norm takes its running statistics in training, too, and leaves them alone */
    int picture_height, picture_width;
    int layer, cross;            /* cache layer of the attention being built, of the cross attention; counted up */
    int64_t state;               /* floats of recurrent state taken so far (nn/recurrent.h) */
    bool recompute;              /* blocks are made again in the backward pass */
    bool balance;                /* routers are counted for nc_moe_balance (nn/moe.h) */
    nc_value *expert_load, *expert_share;
    int routers, expert_top;
    bool given_rows, took_rows;  /* the tower's rows come as the input "vision.given" instead of being computed; whether the family had such a tower */
    bool keep_rows;              /* they are kept under that name */
    bool probes;                 /* golden checks: keep what nc_probe names */
    const char *kept_probe;      /* this one is kept, too; NULL: none */
    nc_point_fn *point[8];       /* inserted at every named point, in order */
    void *point_context[8];
    int points;
};

typedef struct nc_program_options {
    nc_dtype compute;            /* NC_F32, NC_BF16, NC_F64 */
    bool training, recompute, probes;
    bool frozen;                 /* batch norm keeps to its running statistics though it is trained */
    bool given_rows, keep_rows;  /* a frozen tower's rows: an input; kept (nc_model_vision) */
    bool any_size;               /* towers take pictures of any size: position tables are interpolated */
    bool masked;                 /* towers that know a mask token put it where "vision.masked" [patches] is 0 (else -1) */
    const char *kept_probe;      /* keep what nc_probe gives this name ("out.logits"): found by nc_program_value */
    int picture_height, picture_width;   /* of all pictures of this program, where the graph is made for one shape (conv nets); 0: as the config says */
    nc_cache *cache;
    nc_point_fn *point; void *point_context;
} nc_program_options;

/* The size of the first picture of some sequences, for towers whose graph is made for one. */
static inline void nc_program_size(nc_program_options *o, const nc_seq *seqs, int count)
{
    for (int i = 0; i < count && !o->picture_height; i++)
        if (seqs[i].media_count && seqs[i].media[0].count) {
            o->picture_height = seqs[i].media[0].frames[0].height;
            o->picture_width = seqs[i].media[0].frames[0].width;
        }
}

/* Begins a program. Then counts get their capacities, stages are built on nc_program_build(p), nc_program_finish plans it. */
nc_program *nc_program_new(const nc_program_options *o);
void nc_program_free(nc_program *p);
nc_build *nc_program_build(nc_program *p);
/* Check, backward when training and loss, plan. Gradients go to the sites' own memory; in f64 (checks) they are kept as "grad.<site>". */
int nc_program_finish(nc_program *p, nc_value *loss /* NULL: none */, int threads, nc_error *e);
size_t nc_program_bytes(const nc_program *p);                                    /* what nc_program_allocate will take */
int nc_program_allocate(nc_program *p, void *memory /* NULL: own */, nc_error *e);
nc_plan *nc_program_plan(nc_program *p);
nc_graph *nc_program_graph(nc_program *p);
/* Binds inputs and spans to the batch by name and runs. Missing tables and counts over capacity are errors that name them. */
int nc_program_run(nc_program *p, const nc_batch *batch, const nc_run_options *o, nc_error *e);
int64_t nc_program_count(const nc_program *p, const char *name);                 /* live number of the last run */
nc_value *nc_program_value(const nc_program *p, const char *probe);              /* a probed or kept value by name; NULL when there is none */

int nc_program_probes(const nc_program *p);
const char *nc_program_probe_name(const nc_program *p, int i);

/* Inputs of a stage. The named count must have a capacity (nc_build_capacity). columns 0: rank 1. */
void nc_build_capacity(nc_build *b, const char *count, int64_t capacity);
void nc_build_capacities(nc_build *b, const nc_batch *batch);                    /* of every count the batch has: its own number */
/* A count that is the same in every run: its axes are constants (the pairs of a contrastive batch). */
void nc_build_fixed(nc_build *b, const char *count, int64_t n);
nc_value *nc_in(nc_build *b, const char *name, nc_dtype t, const char *count, int64_t columns);
const nc_spans *nc_in_spans(nc_build *b, const char *name);

/* The few functions through which a site is used (DESIGN: one name). */
nc_value *nc_site_value(nc_build *b, nc_site *s);                                /* the leaf of this graph; NULL gives NULL */
nc_value *nc_linear(nc_build *b, nc_value *x, nc_site *w, nc_site *bias);        /* x w^T + bias, and the site's adapters */
nc_value *nc_embed(nc_build *b, nc_site *table, nc_value *ids);
nc_value *nc_rms(nc_build *b, nc_value *x, nc_site *w, double eps);
nc_value *nc_ln(nc_build *b, nc_value *x, nc_site *w, nc_site *bias, double eps);
nc_value *nc_mlp(nc_build *b, nc_unary activation, nc_value *x, nc_site *w1, nc_site *b1, nc_site *w2, nc_site *b2);   /* w2 f(w1 x + b1) + b2 */
nc_value *nc_gated_mlp(nc_build *b, nc_unary activation, nc_value *x, nc_site *gate, nc_site *up, nc_site *down);      /* down (f(gate x) * up x) */
/* Attention over the spans of a stream: q [N,H*A], k, v [N,G*A] (or with heads split). Uses and counts up b->layer when a cache is there and cached is true. */
typedef struct nc_attend {
    int heads, kv_heads, head_dim, window;
    double scale, soft_cap;
    bool cached;
    const nc_spans *spans;
    const float *slopes;                     /* ALiBi's, one for each head; NULL: none */
    nc_value *bias, *q_code, *k_code;        /* nc_attention_attr's: a table [H,R] and whose row a pair of rows meets */
    int64_t bias_offset;
    nc_value *list;                          /* nc_attention_attr's: the keys of each row */
} nc_attend;
nc_value *nc_attend_heads(nc_build *b, nc_value *q, nc_value *k, nc_value *v, const nc_attend *a);   /* -> [N, H*A] */
/* Cross attention of a decoder block to an encoder's or media's rows, over the spans "cross"; rows of no span get zeros. k, v [M,G*A] are of those rows; where a cache is there they
 * are NULL: keys and values lie in the pages of the sequence's cross slot, under the number of the cross attention in its decoder. */
nc_value *nc_attend_cross(nc_build *b, nc_value *q, nc_value *k, nc_value *v, const nc_attend *a);
/* Writes the keys and values of a decoder's cross attention number `layer` into the pages of the cross slots (spans "cross"). */
void nc_keep_cross(nc_build *b, nc_value *k, nc_value *v, const nc_attend *a, int layer);

/* Keeps x after the run under a name, found by nc_program_value. */
void nc_build_keep(nc_build *b, nc_value *x, const char *name);

/* A named point of a block where methods may insert something (attn.in, mlp.out ...); returns x or what replaces it. */
nc_value *nc_point(nc_build *b, nc_value *x, const char *name);
/* Something more at the named points, after what is there already (a family's own needs; methods). At most 8. */
void nc_build_point(nc_build *b, nc_point_fn *fn, void *context);
/* Names an intermediate as the reference does ("hidden.3"); kept after the run when probes are on. Returns x. */
nc_value *nc_probe(nc_build *b, nc_value *x, const char *format, ...) NC_PRINTF(3, 4);
#endif
