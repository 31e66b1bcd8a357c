/* optim.c - what optimizers share: the registry, state, steps over all parameters in fixed blocks, the norm of the gradient. */
#include "optim/optim.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/str.h"
#include "kernels/gemm.h"
#include "optim/optimizer.h"

enum { BLOCK = 32768 };                /* elements a part of the pool's work; 128 KiB a stream */
enum { PANELS = 4, WIDE = 4096 };      /* least panels of a part where the copy is packed; half of them where rows are wide */

struct nc_optim {
    const nc_optimizer *kind;
    nc_optim_options o;
    nc_arena *arena;
    nc_optim_param *param;
    float **state;                     /* [param][NC_OPTIM_STATES] */
    int64_t *first;                    /* the first block of each parameter; [params] is their number */
    double *partial;                   /* the norm's sums, one a block */
    int params, states;
    int64_t steps;
    void *memory;
    size_t bytes;
    uint16_t *room;                    /* a worker's rows in bf16, on their way into panels */
    int64_t room_each;
    int room_threads;
};

static const nc_optimizer *const optimizers[] = {
#define OPTIMIZER(name) &nc_optimizer_##name,
#include "optim/optimizers.list"
#undef OPTIMIZER
};

static const nc_optimizer *find(const char *name, nc_error *e)
{
    char known[400] = "";

    for (int i = 0; i < NC_COUNT(optimizers); i++)
        for (int j = 0; j < NC_COUNT(optimizers[i]->names) && optimizers[i]->names[j]; j++) {
            const char *it = optimizers[i]->names[j];
            if (!strcmp(it, name))
                return optimizers[i];
            if (strlen(known) + strlen(it) + 3 < sizeof known)
                strcat(strcat(known, *known ? ", " : ""), it);
        }
    nc_fail(e, NC_ENOTFOUND, "optimizer \"%s\" is not known; there are %s", name, known);
    return NULL;
}

nc_optim_options nc_optim_defaults(void) { return (nc_optim_options){ .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 }; }

int nc_optim_states_of(const char *name, const nc_optim_options *o, nc_error *e)
{
    const nc_optimizer *kind = find(name, e);

    if (!kind)
        return NC_ENOTFOUND;
    NC_TRY(kind->check(o, e));
    return kind->states(o);
}

/* Elements of a part: whole panels where the copy is packed. */
static int64_t part_size(const nc_optim_param *p)
{
    if (!p->packed)
        return BLOCK;
    int64_t panel = p->packed->k * NC_GEMM_PANEL, least = p->packed->k > WIDE ? PANELS / 2 : PANELS, fit = panel ? BLOCK / panel / 2 * 2 : 0;
    return panel * (fit > least ? fit : least);
}

/* Each array of state starts on a cache line of its own. */
static size_t padded(int64_t count) { return ((size_t)count * sizeof(float) + 63) & ~(size_t)63; }

static int give_state(nc_optim *o, nc_error *e)
{
    for (int i = 0; i < o->params; i++) {
        const nc_optim_param *p = &o->param[i];
        size_t all;
        if (p->count < 0 || (p->count > 0 && (!p->value || !p->grad)))
            return nc_fail(e, NC_EINVAL, "optimizer: parameter %s has no master or no gradient", p->name ? p->name : "");
        if (p->packed && (p->half || !p->packed->turned || p->count != p->packed->n * p->packed->k))
            return nc_fail(e, NC_EINVAL, "optimizer: the packed copy of %s is of another size or not turned", p->name ? p->name : "");
        if (p->count > INT64_MAX / 8 || !nc_mul_size(padded(p->count), (size_t)o->states, &all) || !nc_add_size(o->bytes, all, &o->bytes))
            return nc_fail(e, NC_ELIMIT, "optimizer: the state of %s does not fit into memory", p->name ? p->name : "");
        int64_t each = part_size(p);
        o->first[i + 1] = o->first[i] + (p->count ? (p->count + each - 1) / each : 0);
        o->room_each = p->packed && each > o->room_each ? each : o->room_each;
    }
    if (o->bytes && !(o->memory = nc_pages_alloc(o->bytes)))
        return nc_fail(e, NC_ENOMEM, "optimizer: no memory for %zu bytes of state", o->bytes);
    char *at = o->memory;
    for (int i = 0; i < o->params; i++)
        for (int s = 0; s < o->states; s++, at += padded(o->param[i].count))
            o->state[i * NC_OPTIM_STATES + s] = (float *)(void *)at;
    o->partial = NC_NEW_ARRAY(o->arena, double, o->first[o->params] + 1);
    return 0;
}

int nc_optim_new(const char *name, const nc_optim_options *options, const nc_optim_param *params, int n, nc_optim **out, nc_error *e)
{
    const nc_optimizer *kind = find(name, e);

    *out = NULL;
    if (!kind)
        return NC_ENOTFOUND;
    NC_TRY(kind->check(options, e));
    nc_arena *a = nc_arena_new();
    nc_optim *o = NC_NEW(a, nc_optim);
    *o = (nc_optim){ .kind = kind, .o = *options, .arena = a, .params = n, .states = kind->states(options) };
    o->param = NC_NEW_ARRAY(a, nc_optim_param, n + 1);
    o->state = NC_NEW_ARRAY(a, float *, (n + 1) * NC_OPTIM_STATES);
    o->first = NC_NEW_ARRAY(a, int64_t, n + 1);
    for (int i = 0; i < n; i++)
        o->param[i] = params[i];
    o->first[0] = 0;
    int rc = give_state(o, e);
    if (rc < 0) {
        nc_optim_free(o);
        return rc;
    }
    *out = o;
    return 0;
}

void nc_optim_free(nc_optim *o)
{
    if (!o)
        return;
    if (o->memory)
        nc_pages_free(o->memory, o->bytes);
    free(o->room);
    nc_arena_free(o->arena);
}

static size_t room_bytes(const nc_optim *o, int threads) { return o->room_each ? (size_t)threads * (size_t)o->room_each * sizeof *o->room + 64 : 0; }
size_t nc_optim_bytes(const nc_optim *o, int threads) { return o->bytes + room_bytes(o, threads); }

/* The parameter that block `part` belongs to: the last with first[i] <= part. Parameters without elements have no block. */
static int owner(const nc_optim *o, int64_t part)
{
    int low = 0, high = o->params;

    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (o->first[middle] <= part)
            low = middle;
        else
            high = middle;
    }
    return low;
}

typedef struct job { nc_optim *o; const nc_kernels *kernels; const struct nc_optim_kernels *k; double lr, scale; } job;

static void norm_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    int i = owner(j->o, part);
    const nc_optim_param *p = &j->o->param[i];
    int64_t each = part_size(p), at = (part - j->o->first[i]) * each, n = p->count - at < each ? p->count - at : each;

    (void)parts, (void)worker;
    if (p->squares && *p->squares > 0)
        j->o->partial[part] = at ? 0 : *p->squares;
    else
        j->o->partial[part] = j->k->squares(p->grad + at, n);
}

double nc_optim_norm(nc_optim *o, nc_pool *pool, const nc_kernels *kernels)
{
    job j = { .o = o, .k = kernels->optim };
    double sum = 0;

    nc_pool_run(pool, o->first[o->params], norm_part, &j);
    for (int64_t b = 0; b < o->first[o->params]; b++)
        sum += o->partial[b];
    return sqrt(sum);
}

double nc_clip_scale(double norm, double max_norm)
{
    double scale = max_norm / (norm + 1e-6);

    return max_norm > 0 && !(scale > 1) ? scale : 1;
}

static void step_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    const nc_optim *o = j->o;
    int i = owner(o, part);
    const nc_optim_param *p = &o->param[i];
    int64_t each = part_size(p), at = (part - o->first[i]) * each, n = p->count - at < each ? p->count - at : each;
    uint16_t *rows = p->packed ? o->room + worker * o->room_each : NULL;
    nc_optim_block b = { .o = &o->o, .k = j->k, .lr = j->lr * p->lr_scale, .weight_decay = p->weight_decay < 0 ? o->o.weight_decay : p->weight_decay,
                         .scale = o->o.maximize ? -j->scale : j->scale, .step = o->steps, .value = p->value + at, .grad = p->grad + at,
                         .half = p->half ? p->half + at : rows, .n = n };

    (void)parts;
    for (int s = 0; s < o->states; s++)
        b.state[s] = o->state[i * NC_OPTIM_STATES + s] + at;
    o->kind->block(&b);
    if (rows) {
        int64_t panel = p->packed->k * NC_GEMM_PANEL;
        nc_gemm_pack_both(j->kernels, p->packed, rows, at / panel, (at + n + panel - 1) / panel);
    }
}

void nc_optim_step(nc_optim *o, nc_pool *pool, const nc_kernels *kernels, double lr, double scale)
{
    job j = { o, kernels, kernels->optim, lr, scale };
    int threads = nc_pool_threads(pool);

    if (threads > o->room_threads && o->room_each) {
        free(o->room);
        o->room = nc_xmalloc(room_bytes(o, threads));
        o->room_threads = threads;
    }
    o->steps++;
    nc_pool_run(pool, o->first[o->params], step_part, &j);
}

int64_t nc_optim_steps(const nc_optim *o) { return o->steps; }
void nc_optim_set_steps(nc_optim *o, int64_t steps) { o->steps = steps; }
int nc_optim_states(const nc_optim *o) { return o->states; }
const char *nc_optim_state_name(const nc_optim *o, int state) { return o->kind->state_names[state]; }
float *nc_optim_state(nc_optim *o, int param, int state) { return o->state[param * NC_OPTIM_STATES + state]; }
int nc_optim_params(const nc_optim *o) { return o->params; }
const nc_optim_param *nc_optim_param_at(const nc_optim *o, int param) { return &o->param[param]; }
