/* lora.h - low-rank adaptation of linear weights (Hu et al. 2021): y' = y + s B (A dropout(x)), s = alpha / r, or alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023).
 *
 * A [r, in] starts uniform in +-1/sqrt(in) (kaiming_uniform with a = sqrt 5, as PEFT), B [out, r] at zero. A pair hangs on its site's uses through nc_adapter;
 * A and B are sites of their own, so the optimizer and checkpoints walk them like any weight.
 */
#ifndef NC_ADAPT_LORA_H
#define NC_ADAPT_LORA_H
#include "nn/build.h"

typedef struct nc_lora_pair {
    nc_adapter adapter;              /* first: the site's list points here */
    nc_site *target;
    nc_site a, b;
    double alpha, scale, dropout;
    uint32_t site_id;                /* of the dropout's draws */
} nc_lora_pair;

typedef struct nc_lora {
    nc_arena *arena;
    nc_lora_pair **pair;             /* in order of attachment */
    int count, capacity;
    void *memory;
    size_t bytes;
} nc_lora;

nc_lora *nc_lora_new(void);
/* Takes the adapters off their sites, then frees; call before the model is freed. NULL is allowed. */
void nc_lora_free(nc_lora *l);
/* A pair on a linear site [out, in]; its factors are named after `module`. No memory yet. */
int nc_lora_attach(nc_lora *l, nc_site *target, const char *module, int r, double alpha, bool rslora, double dropout, nc_error *e);
/* Memory of all pairs: values in the run's dtype; masters and gradients when trained. Gives the bytes it takes. */
size_t nc_lora_bytes(const nc_lora *l, nc_dtype compute, bool train);
int nc_lora_allocate(nc_lora *l, nc_dtype compute, bool train, nc_error *e);
/* A by Philox(seed; its name), B zero. */
void nc_lora_init(nc_lora *l, uint64_t seed);
/* Gives a factor its values from f32 (the site's own shape). */
void nc_lora_fill(nc_site *factor, const float *values);
/* w [out, in] += s B A, summed over r in order, in f32. */
void nc_lora_add_delta(const nc_lora_pair *p, float *w);
#endif
