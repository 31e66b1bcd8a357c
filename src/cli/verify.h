/* verify.h - runs the reference outputs kept beside a checkpoint (golden.safetensors) and says how far ours are.
 *
 * Every tensor of golden.safetensors is an input (in.*, train.*, batch.*), a check, or unchecked; a folder passes when every check is within its limit and none is
 * unchecked. Limits are those of docs/architecture.md: outputs 2e-5 of the largest magnitude of the tensor, gradients 1e-4 of (its largest + a thousandth of the largest
 * of all), losses of ten optimizer steps 2e-5 relative; or 4 x the reference's own spread where golden.json states it.
 */
#ifndef NC_CLI_VERIFY_H
#define NC_CLI_VERIFY_H
#include "cli/worse.h"
#include "load/load.h"

typedef struct nc_quantity { const char *name; double abs, rel, limit; bool pass; const char *note; } nc_quantity;   /* rel is compared with limit unless note says otherwise */

typedef struct nc_verify {
    nc_arena *arena;
    const char *folder, *data;
    nc_json *golden;
    nc_safetensors *tensors;
    bool *used;                      /* by index of tensors */
    nc_quantity *quantity;
    int count, capacity, unchecked;
    bool passed;
    nc_loaded *f32;                  /* everything trainable, plain */
    nc_pool *pool;
    const nc_kernels *kernels;
    double balance;                  /* training programs add so much of the routers' balance loss */
    nc_program *program;             /* the training program, kept between steps */
    struct nc_exact *exact;          /* the same in float64 (nc_exact_begin), where golden.json does not say how far the reference is from it; or NULL */
} nc_verify;

/* data: where some cases find pictures (may be NULL). NC_ENOTFOUND: no model folder. The caller frees out. */
int nc_verify_run(const char *folder, const char *data, nc_pool *pool, nc_verify *out, nc_error *e);
void nc_verify_free(nc_verify *v);
double nc_verify_worst(const nc_verify *v);              /* largest rel / limit */

/* ---- for the verify_*.c files ---- */
const nc_stored *nc_verify_tensor(nc_verify *v, const char *format, ...) NC_PRINTF(2, 3);   /* marks it used; NULL when absent */
bool nc_verify_has(const nc_verify *v, const char *name);
void nc_verify_add(nc_verify *v, const char *name, double abs, double rel, double limit, const char *note);
/* Largest difference of rows of ours [rows, columns] and the reference, relative to the reference's largest magnitude. skip: rows not compared (NULL: none). */
void nc_verify_compare(nc_verify *v, const char *name, const nc_stored *want, const float *ours, int64_t count, double limit, const bool *skip_row, int64_t columns);
void nc_verify_ids(nc_verify *v, const char *name, const nc_stored *want, const int32_t *ours, int64_t count);
double nc_verify_spread(const nc_verify *v, const char *key, double fallback);              /* 4 x reference_spread.key, or fallback if larger */
double nc_verify_output_limit(const nc_verify *v);       /* absolute part of the outputs' limit from the stated spread */
float *nc_verify_probe(nc_arena *a, const nc_program *p, const char *name, int64_t *count); /* live values as f32; NULL when not probed */
int32_t *nc_verify_ints(nc_arena *a, const nc_stored *t);
int nc_verify_build(nc_verify *v, nc_loaded *l, nc_dtype compute, bool train, const nc_seq *seq, int seqs, int pictures, nc_program **out, nc_batch *batch, nc_error *e);

/* How the reference outputs of one kind of model are run: a file verify_<kind>.c and a line in verify_kinds.list. The first kind that takes a folder checks it. */
typedef struct nc_verify_kind {
    const char *name;
    bool (*takes)(const nc_verify *v);   /* looks at the family (v->f32->model->family) and at what golden.safetensors holds */
    int (*run)(nc_verify *v, nc_error *e);
} nc_verify_kind;

/* What the folder's processor makes of the pictures that golden.json names ("images"), against in.pixel_values and in.pixel_mask (verify_pixels.c). */
int nc_verify_pixels(nc_verify *v, nc_error *e);
/* Loss, gradients and ten AdamW steps of program over batch, whose loss is probed as "loss". */
int nc_verify_train(nc_verify *v, nc_program *p, nc_batch *batch, nc_error *e);
/* Its two halves: one training run against "<prefix>loss", "<prefix>grad.*" and, after it, "<prefix>buffer.*"; and ten steps from there. */
int nc_verify_gradients(nc_verify *v, nc_program *p, nc_batch *batch, const char *prefix, double *loss, nc_error *e);
int nc_verify_steps(nc_verify *v, nc_program *p, nc_batch *batch, double loss, nc_error *e);
/* ---- verify_exact.c: the reference's own distance from float64, for nets so ill-conditioned (batch norm over a few cells, many layers deep) that f32 runs differ.
 * The float64 twin of a case is run and golden.safetensors compared with it; a limit is then at least 4 x that distance, as it is where golden.json states one. ---- */
int nc_exact_begin(nc_verify *v, nc_error *e);           /* loads the folder in float64: v->exact */
void nc_exact_free(struct nc_exact *x);
nc_loaded *nc_exact_loaded(struct nc_exact *x);
/* Takes the values of a program that has run: its probes (out.x under prefix.x where prefix is not empty); gradients and buffers too when it trains. */
void nc_exact_take(nc_verify *v, const nc_program *p, const char *prefix, bool trained);
int nc_exact_steps(nc_verify *v, nc_program *p, const nc_batch *batch, nc_error *e);         /* ten AdamW steps from there: adamw.* */
/* 4 x the reference's distance from float64, relative: of one tensor to its largest, or of all gradients as they are compared; 0 without a twin. */
double nc_exact_limit(const nc_verify *v, const char *name);

/* The same program with the routers' balance loss: aux.loss, aux.loss_total, aux.grad.*. */
int nc_verify_aux(nc_verify *v, const nc_seq *seq, nc_error *e);
/* Greedy continuation with the cache, and without. media: of the prompt. */
int nc_verify_generate(nc_verify *v, const int32_t *ids, int count, const nc_media *media, int media_count, nc_error *e);
int nc_verify_generate_from(nc_verify *v, const nc_seq *from, nc_error *e);      /* the same from a prompt with its source */
int nc_verify_greedy(nc_verify *v, const nc_seq *from, int steps, int32_t *ids, nc_error *e);   /* the tokens alone, nothing compared */
/* golden.json's generate_cases and beam.<case>.*, from the prompt's ids or (encoder-decoder models) its source or this picture (else NULL). */
struct nc_pictures;
int nc_verify_cases(nc_verify *v, const nc_seq *from, struct nc_pictures *picture, nc_error *e);
int nc_verify_generate_batch(nc_verify *v, nc_error *e);  /* batch.*, where it is there */
#endif
