/* bench_models.h - whole models timed: `nunchi bench model|train|vision|load|tokenizer`. Each appends one JSON object, and a line or two for people.
 *
 * share: operations of the linear parts and of causal attention / time / the peak of the arithmetic measured in the run. decode_share: bytes of weights and cache
 * read / time / the DRAM bandwidth measured in the run. peak_bytes is VmHWM; planned_bytes what was planned beforehand, nc_bench_reserve for the program and
 * its libraries included.
 */
#ifndef NC_CLI_BENCH_MODELS_H
#define NC_CLI_BENCH_MODELS_H
#include "cli/bench.h"
#include "load/load.h"

typedef struct nc_bench_options {
    const char *config;              /* path of a config.json */
    nc_dtype dtype;                  /* F32, BF16, Q8_0, Q4_0 (the last two compute in bf16) */
    int prompt, generate, batch, depth, tokens;
    int threads;
    int steps;                       /* train, vision, model's prefill, load: timed ones, of which the median counts */
    bool profile;                    /* model (its prefill), train, vision: one more step, its time by op and by scope in the table */
    const char *text, *keep;         /* tokenizer: a file to encode, NULL: a made one; where to write it, NULL: nowhere */
} nc_bench_options;

typedef struct nc_bench {
    nc_arena *arena;
    nc_bench_options o;
    nc_pool *pool;
    const nc_kernels *kernels;
    nc_roofline limits;
    nc_json *config;
    nc_model *model;
    nc_weights_options weights;
    double linear, head;             /* parameters of the products without the head; of the head */
    int heads, head_dim, layers;     /* of attention */
    size_t weight_bytes;             /* planned */
} nc_bench;

/* Measures the limits, then makes the model and fills it with small random numbers straight in the form the run holds them in. */
int nc_bench_open(nc_bench *b, const nc_bench_options *o, bool train, nc_error *e);
void nc_bench_close(nc_bench *b);
double nc_bench_peak(const nc_bench *b);         /* operations a second of the run's arithmetic */
size_t nc_bench_peak_bytes(void);                /* VmHWM */
size_t nc_bench_reserve(void);                   /* the program's and its libraries' code as far as it is in memory, and their data */

int nc_bench_model(const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e);
int nc_bench_train(const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e);
int nc_bench_vision(const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e);
/* folder NULL: a checkpoint of the config with random weights and a tokenizer is written to a temporary folder first. program: argv[0]. */
int nc_bench_load(const char *program, const char *folder, const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e);
/* where: a folder with a tokenizer or its file. {"tokenizer", "bytes", "load_seconds", "mb_per_second", "tokens_per_second" (one document), "lines_mb_per_second" ...} */
int nc_bench_tokenizer(const char *where, const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e);
/* What the child of nc_bench_load does: loads the folder, runs one token, prints the best next id. */
int nc_bench_load_once(const char *folder, nc_dtype dtype, nc_error *e);
#endif
