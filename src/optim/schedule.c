/* schedule.c - learning rates over steps: the factors of transformers' optimization.py under their names there.
 *
 * W warmup steps, T total steps, s the step from 0, u = (s - W) / max(1, T - W) the progress after warmup; warmup is s / max(1, W).
 * min_lr and lr_end are rates, so that the factors need the base rate.
 */
#include <math.h>
#include <string.h>
#include "optim/optim.h"

typedef double factor_fn(const nc_schedule *c, double s, double lr);
static const double pi = 3.14159265358979323846;

static double at_least_1(int64_t n) { return n > 1 ? (double)n : 1; }
static double at_least_0(double x) { return x > 0 ? x : 0; }
static bool warming(const nc_schedule *c, double s) { return s < (double)c->warmup_steps; }
static double warmup(const nc_schedule *c, double s) { return s / at_least_1(c->warmup_steps); }
static double progress(const nc_schedule *c, double s) { return (s - (double)c->warmup_steps) / at_least_1(c->total_steps - c->warmup_steps); }
static double cycles(const nc_schedule *c, double usual) { return c->num_cycles < 0 ? usual : c->num_cycles; }
static double floor_rate(const nc_schedule *c, double lr) { return c->min_lr < 0 ? c->min_lr_rate : lr != 0 ? c->min_lr / lr : 0; }

static double constant(const nc_schedule *c, double s, double lr) { return (void)c, (void)s, (void)lr, 1; }
static double constant_with_warmup(const nc_schedule *c, double s, double lr) { return (void)lr, warming(c, s) ? warmup(c, s) : 1; }

static double linear(const nc_schedule *c, double s, double lr)
{
    (void)lr;
    return warming(c, s) ? warmup(c, s) : at_least_0(((double)c->total_steps - s) / at_least_1(c->total_steps - c->warmup_steps));
}

/* (1 + cos(2 pi cycles u)) / 2 */
static double wave(const nc_schedule *c, double u) { return 0.5 * (1 + cos(pi * cycles(c, 0.5) * 2 * u)); }
static double cosine(const nc_schedule *c, double s, double lr) { return (void)lr, warming(c, s) ? warmup(c, s) : at_least_0(wave(c, progress(c, s))); }

static double cosine_with_restarts(const nc_schedule *c, double s, double lr)
{
    double u = progress(c, s);

    (void)lr;
    if (warming(c, s))
        return warmup(c, s);
    return u >= 1 ? 0 : at_least_0(0.5 * (1 + cos(pi * fmod(cycles(c, 1) * u, 1))));
}

static double polynomial(const nc_schedule *c, double s, double lr)
{
    if (warming(c, s))
        return warmup(c, s);
    if (lr == 0 || s > (double)c->total_steps)
        return lr == 0 ? 0 : c->lr_end / lr;
    double left = 1 - progress(c, s);
    return ((lr - c->lr_end) * pow(left, c->power) + c->lr_end) / lr;
}

static double inverse_sqrt(const nc_schedule *c, double s, double lr)
{
    double scale = c->timescale ? (double)c->timescale : c->warmup_steps ? (double)c->warmup_steps : 10000;

    (void)lr;
    return warming(c, s) ? warmup(c, s) : 1 / sqrt((s + scale - (double)c->warmup_steps) / scale);
}

static double raised(double factor, double least) { return at_least_0(factor * (1 - least) + least); }
static double cosine_with_min_lr(const nc_schedule *c, double s, double lr)
{
    return warming(c, s) ? warmup(c, s) : raised(wave(c, progress(c, s)), floor_rate(c, lr));
}

/* Warmup reaches the base rate at its last step, and decay begins one step early. */
static double cosine_warmup_with_min_lr(const nc_schedule *c, double s, double lr)
{
    double from = c->warmup_lr_rate;

    if (warming(c, s))
        return from < 0 ? (s + 1) / at_least_1(c->warmup_steps) : from + (1 - from) * s / at_least_1(c->warmup_steps - 1);
    return raised(wave(c, progress(c, s + 1)), floor_rate(c, lr));
}

static double warmup_stable_decay(const nc_schedule *c, double s, double lr)
{
    int64_t stable = c->stable_steps < 0 ? c->total_steps - c->warmup_steps - c->decay_steps : c->stable_steps;
    double u = warmup(c, s), decay = (s - (double)(c->warmup_steps + stable)) / at_least_1(c->decay_steps);

    (void)lr;
    if (warming(c, s))
        return raised(c->warmup_type == NC_SHAPE_LINEAR ? u : c->warmup_type == NC_SHAPE_COSINE ? 0.5 * (1 - cos(pi * u)) : 1 - sqrt(1 - u), c->min_lr_ratio);
    if (s < (double)(c->warmup_steps + stable))
        return 1;
    if (s >= (double)(c->warmup_steps + stable + c->decay_steps))
        return c->min_lr_ratio;
    return raised(c->decay_type == NC_SHAPE_LINEAR ? 1 - decay : c->decay_type == NC_SHAPE_COSINE ? wave(c, decay) : 1 - sqrt(decay), c->min_lr_ratio);
}

static const struct { const char *name; factor_fn *factor; } table[] = {
    { "constant", constant }, { "constant_with_warmup", constant_with_warmup }, { "linear", linear }, { "cosine", cosine },
    { "cosine_with_restarts", cosine_with_restarts }, { "polynomial", polynomial }, { "inverse_sqrt", inverse_sqrt },
    { "cosine_with_min_lr", cosine_with_min_lr }, { "cosine_warmup_with_min_lr", cosine_warmup_with_min_lr },
    { "warmup_stable_decay", warmup_stable_decay },
};

static factor_fn *find(const char *name)
{
    for (int i = 0; i < NC_COUNT(table); i++)
        if (name && !strcmp(table[i].name, name))
            return table[i].factor;
    return NULL;
}

nc_schedule nc_schedule_defaults(void)
{
    return (nc_schedule){ .name = "linear", .num_cycles = -1, .power = 1, .lr_end = 1e-7, .min_lr = -1, .warmup_lr_rate = -1, .stable_steps = -1,
                          .warmup_type = NC_SHAPE_LINEAR, .decay_type = NC_SHAPE_COSINE };
}

int nc_schedule_check(const nc_schedule *s, nc_error *e)
{
    char known[400] = "";

    for (int i = 0; i < NC_COUNT(table); i++)
        strcat(strcat(known, i ? ", " : ""), table[i].name);
    if (!find(s->name))
        return nc_fail(e, NC_ENOTFOUND, "lr_scheduler_type \"%s\" is not known; there are %s", s->name ? s->name : "", known);
    if (s->warmup_steps < 0 || s->total_steps < 0 || s->decay_steps < 0 || s->timescale < 0)
        return nc_fail(e, NC_EINVAL, "lr_scheduler_type %s: numbers of steps must not be negative", s->name);
    if (!strcmp(s->name, "warmup_stable_decay") && s->stable_steps < 0 && s->total_steps < s->warmup_steps + s->decay_steps)
        return nc_fail(e, NC_EINVAL, "lr_scheduler_type %s: %lld steps are fewer than %lld of warmup and %lld of decay", s->name, (long long)s->total_steps,
                       (long long)s->warmup_steps, (long long)s->decay_steps);
    return 0;
}

double nc_schedule_rate(const nc_schedule *s, double lr, int64_t step)
{
    factor_fn *f = find(s->name);

    return f ? lr * f(s, (double)step, lr) : lr;
}

int nc_schedule_shape_parse(const char *name, nc_schedule_shape *out)
{
    static const char *const names[] = { "linear", "cosine", "1-sqrt" };

    for (int i = 0; i < NC_COUNT(names); i++)
        if (!strcmp(names[i], name)) {
            *out = (nc_schedule_shape)i;
            return 0;
        }
    return NC_ENOTFOUND;
}
