/* pipeline.c - a list of operations read from a recipe, and run one after another; the operations that hold others. */
#include <string.h>

#include "media/augment.h"
#include "media/augment/raster.h"

#define OPERATION(id) extern const nc_augment_op nc_augment_##id;
#include "media/augment/operations.list"
#undef OPERATION

static const nc_augment_op *const operations[] = {
#define OPERATION(id) &nc_augment_##id,
#include "media/augment/operations.list"
#undef OPERATION
};

struct nc_augment { int count; const nc_augment_step *steps; };

const char *const *nc_augment_names(int *count)
{
    static const char *names[NC_COUNT(operations)];
    for (int i = 0; i < NC_COUNT(operations); i++)
        names[i] = operations[i]->name;
    *count = NC_COUNT(operations);
    return names;
}

static const nc_augment_op *find(const char *name)
{
    for (int i = 0; i < NC_COUNT(operations); i++)
        if (!strcmp(operations[i]->name, name))
            return operations[i];
    return NULL;
}

/* The keys of the entry that the operation did not ask for. */
static void refuse_unread(nc_args *a)
{
    NC_JSON_EACH(v, a->map) {
        bool known = !strcmp(v->key.p, "name");
        for (int i = 0; i < a->count; i++)
            known |= !strcmp(a->asked[i], v->key.p);
        if (known)
            continue;
        const char *near = nc_nearest(v->key.p, a->asked, a->count);
        nc_arg_mistake(a, "the key \"%.60s\" is unknown%s%s", v->key.p, near ? "; nearest is " : "", near ? near : "");
    }
}

/* An entry is a name, or a map with a name. */
static int read_step(nc_arena *arena, const nc_json *v, nc_augment_step *out, nc_error *e)
{
    const bool bare = nc_json_is(v, NC_JSON_STRING);
    const char *name = nc_json_string(bare ? v : nc_json_get(v, "name"), NULL);
    int count;
    if (!name)
        return nc_fail(e, NC_EINVAL, "an operation is a map with a name, { name: ColorJitter, brightness: 0.4 }");
    const nc_augment_op *op = find(name);
    if (!op) {
        const char *const *names = nc_augment_names(&count), *near = nc_nearest(name, names, count);
        return nc_fail(e, NC_EINVAL, "\"%.60s\" is no operation known here%s%s", name, near ? "; nearest is " : "", near ? near : "");
    }
    void *parameters = nc_arena_alloc(arena, op->size);
    nc_args a = { .map = bare ? NULL : v, .arena = arena, .name = op->name, .e = e };
    op->read(parameters, &a);
    bool own = false;
    for (int i = 0; i < a.count; i++)
        own |= !strcmp(a.asked[i], "p");
    *out = (nc_augment_step){ op, parameters, own ? 1 : nc_arg_number_in(&a, "p", 1, 0, 1) };
    refuse_unread(&a);
    return a.status;
}

static int read_list(nc_arena *arena, const nc_json *list, nc_augment_step **out, nc_error *e)
{
    enum { MOST = 256 };
    int n = 0;
    if (!nc_json_is(list, NC_JSON_ARRAY) || list->count > MOST)
        return nc_fail(e, NC_EINVAL, "must be a list of at most %d operations", MOST);
    *out = NC_NEW_ARRAY(arena, nc_augment_step, list->count + 1);
    NC_JSON_EACH(v, list)
        NC_TRY(read_step(arena, v, &(*out)[n++], e));
    return n;
}

int nc_augment_steps_read(nc_args *a, const char *key, nc_augment_step **out)
{
    nc_error e = { 0 };
    nc_arg_need(a, key);
    const nc_json *list = nc_arg_list(a, key);
    int n = list ? read_list(a->arena, list, out, &e) : 0;
    if (n < 0)
        nc_arg_mistake(a, "%s: %s", key, e.message);
    return n < 0 ? 0 : n;
}

int nc_augment_new(nc_arena *a, const nc_json *list, const char *where, nc_augment **out, nc_error *e)
{
    nc_augment *g = NC_NEW(a, nc_augment);
    nc_augment_step *steps = NULL;
    int n = read_list(a, list, &steps, e);
    if (n < 0)
        return nc_fail_in(e, "%s", where);
    g->count = n;
    g->steps = steps;
    *out = g;
    return 0;
}

int nc_augment_step_run(const nc_augment_step *s, nc_rng *rng, nc_raster *x, nc_error *e)
{
    if (s->p < 1 && nc_rng_uniform(rng) >= s->p)
        return 0;
    const int status = s->op->apply(s->parameters, rng, x, e);
    if (status < 0)
        nc_fail_in(e, "%s", s->op->name);
    return status;
}

int nc_augment_run(const nc_augment *g, nc_rng *rng, nc_image *im, nc_error *e)
{
    nc_raster x = { 0 };
    nc_image out;
    NC_TRY(nc_image_copy(im, &x.image, e));
    int status = 0;
    for (int i = 0; i < g->count && status == 0; i++)
        status = nc_augment_step_run(&g->steps[i], rng, &x, e);
    if (status == 0 && x.tensor) {
        status = nc_image_of_planes(&x.planes, &out, e);
        if (status == 0)
            nc_raster_take(&x, &out);
    }
    if (status == 0) {
        nc_image_free(im);
        *im = x.image;
        x.image = (nc_image){ 0 };
    }
    nc_raster_free(&x);
    return status;
}

struct holder { int count; nc_augment_step *steps; double p, weight[256]; };

static void read_holder(void *parameters, nc_args *a)
{
    struct holder *h = parameters;
    h->count = nc_augment_steps_read(a, "transforms", &h->steps);
    if (!h->count)
        nc_arg_mistake(a, "transforms is empty");
}

static void read_apply(void *parameters, nc_args *a)
{
    read_holder(parameters, a);
    ((struct holder *)parameters)->p = nc_arg_number_in(a, "p", 0.5, 0, 1);
}

/* p: a weight for each; equal ones where it is not given. */
static void read_choice(void *parameters, nc_args *a)
{
    struct holder *h = parameters;
    double sum = 0;
    read_holder(h, a);
    const int given = nc_arg_numbers(a, "p", h->weight, h->count, h->count);
    for (int i = 0; i < h->count; i++) {
        h->weight[i] = given ? h->weight[i] : 1;
        sum += h->weight[i] >= 0 ? h->weight[i] : -1e300;
    }
    if (h->count && !(sum > 0))
        nc_arg_mistake(a, "p holds a weight for each of the transforms, none below 0");
}

static int apply_all(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct holder *h = parameters;
    if (nc_rng_uniform(rng) >= h->p)
        return 0;
    for (int i = 0; i < h->count; i++)
        NC_TRY(nc_augment_step_run(&h->steps[i], rng, x, e));
    return 0;
}

static int apply_one(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct holder *h = parameters;
    double sum = 0;
    int k = 0;
    for (int i = 0; i < h->count; i++)
        sum += h->weight[i];
    double at = nc_rng_uniform(rng) * sum;
    while (k < h->count - 1 && at >= h->weight[k])
        at -= h->weight[k++];
    return nc_augment_step_run(&h->steps[k], rng, x, e);
}

static int apply_shuffled(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct holder *h = parameters;
    int64_t order[256];
    for (int i = 0; i < h->count; i++)
        order[i] = i;
    nc_rng_shuffle(rng, order, (size_t)h->count);
    for (int i = 0; i < h->count; i++)
        NC_TRY(nc_augment_step_run(&h->steps[order[i]], rng, x, e));
    return 0;
}

const nc_augment_op nc_augment_RandomApply = { "RandomApply", sizeof(struct holder), read_apply, apply_all };
const nc_augment_op nc_augment_RandomChoice = { "RandomChoice", sizeof(struct holder), read_choice, apply_one };
const nc_augment_op nc_augment_RandomOrder = { "RandomOrder", sizeof(struct holder), read_holder, apply_shuffled };
