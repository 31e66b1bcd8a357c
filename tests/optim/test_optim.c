/* test_optim.c - optimizers against PyTorch's parameters after every step, kernels against their definition, norm and clipping, state, errors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include "base/rng.h"
#include "golden_safetensors.h"
#include "kernels/optim.h"
#include "kernels/gemm.h"
#include "optim/optim.h"

static nc_optim_options options_of(const nc_json *c)
{
    nc_optim_options o = nc_optim_defaults();
    const nc_json *betas = nc_json_get(c, "betas");
    const char *class = nc_json_string(nc_json_get(c, "class"), "");

    o.beta1 = nc_json_double(nc_json_at(betas, 0), o.beta1);
    o.beta2 = nc_json_double(nc_json_at(betas, 1), o.beta2);
    o.eps = nc_json_double(nc_json_get(c, "eps"), o.eps);
    o.weight_decay = nc_json_double(nc_json_get(c, "weight_decay"), strcmp(class, "torch.AdamW") ? 0 : 0.01);
    o.momentum = nc_json_double(nc_json_get(c, "momentum"), 0);
    o.dampening = nc_json_double(nc_json_get(c, "dampening"), 0);
    o.nesterov = nc_json_bool(nc_json_get(c, "nesterov"), false);
    o.amsgrad = nc_json_bool(nc_json_get(c, "amsgrad"), false);
    o.maximize = nc_json_bool(nc_json_get(c, "maximize"), false);
    return o;
}

static const char *const parts[] = { "w", "b", "tall" };

/* Ten steps of one case; every parameter after every step. */
static void follow(golden_file *g, const nc_json *c, const char *name, const char *optimizer, nc_isa isa)
{
    nc_optim_options o = options_of(c);
    nc_optim_param params[3];
    golden_tensor grads[3], want[3];
    float *grad[3];
    nc_optim *optim;
    nc_error e = { 0 };

    for (int i = 0; i < 3; i++) {
        golden_tensor init = golden_get(g, nc_arena_printf(g->a, "init.%s", parts[i]));
        grads[i] = golden_get(g, nc_arena_printf(g->a, "grads.%s", parts[i]));
        want[i] = golden_get(g, nc_arena_printf(g->a, "%s.%s", name, parts[i]));
        assert_true(init.f && grads[i].f && want[i].f);
        float *value = NC_NEW_ARRAY(g->a, float, init.count);
        grad[i] = NC_NEW_ARRAY(g->a, float, init.count);
        memcpy(value, init.f, (size_t)init.count * sizeof *value);
        params[i] = (nc_optim_param){ parts[i], init.count, value, grad[i], NC_NEW_ARRAY(g->a, uint16_t, init.count), 1, -1, NULL, NULL };
    }
    if (nc_optim_new(optimizer, &o, params, 3, &optim, &e) < 0)
        fail_msg("%s: %s", name, e.message);
    assert_int_equal(nc_optim_states(optim), nc_optim_states_of(optimizer, &o, &e));
    for (int64_t step = 0; step < 10; step++) {
        for (int i = 0; i < 3; i++)
            memcpy(grad[i], grads[i].f + step * params[i].count, (size_t)params[i].count * sizeof(float));
        nc_optim_step(optim, NULL, nc_kernels_for(isa), nc_json_double(nc_json_get(c, "lr"), 0), 1);
        for (int i = 0; i < 3; i++)
            for (int64_t k = 0; k < params[i].count; k++) {
                double right = want[i].f[step * params[i].count + k], got = params[i].value[k];
                if (!(fabs(got - right) <= 2e-6 * (1 + fabs(right))))
                    fail_msg("%s.%s on %s, step %lld, element %lld: %.9g, should be %.9g", name, parts[i], nc_isa_name(isa), (long long)step, (long long)k, got, right);
                assert_int_equal(params[i].half[k], nc_f32_to_bf16(params[i].value[k]));
            }
    }
    assert_int_equal(nc_optim_steps(optim), 10);
    nc_optim_free(optim);
}

static void test_golden(void **state)
{
    static const struct { const char *class, *name; } known[] = { { "torch.AdamW", "adamw_torch" }, { "torch.Adam", "adam" }, { "torch.SGD", "sgd" }, { "definition.Lion", "lion" } };
    golden_file g;
    int cases = 0;

    (void)state;
    if (!golden_open(&g, "train/optim"))
        return;
    NC_JSON_EACH(c, nc_json_get(g.golden, "cases"))
        for (int i = 0; i < NC_COUNT(known); i++)
            if (!strcmp(nc_json_string(nc_json_get(c, "class"), ""), known[i].class)) {
                for (int isa = NC_ISA_SCALAR; isa <= (int)nc_isa_of_cpu(); isa++)
                    follow(&g, c, nc_arena_printf(g.a, "%.*s", (int)c->key.n, c->key.p), known[i].name, (nc_isa)isa);
                cases++;
            }
    assert_true(cases >= 11);
    golden_close(&g);
}

static void test_clipping(void **state)
{
    golden_file g;
    nc_optim_param p[2];
    nc_optim_options o = nc_optim_defaults();
    nc_optim *optim;
    nc_error e = { 0 };

    (void)state;
    if (!golden_open(&g, "train/schedules"))
        return;
    for (int i = 0; i < 2; i++) {
        golden_tensor grad = golden_get(&g, i ? "clip.grad.1" : "clip.grad.0");
        assert_non_null(grad.f);
        p[i] = (nc_optim_param){ "p", grad.count, (float *)grad.f, (float *)grad.f, NULL, 1, -1, NULL, NULL };
    }
    assert_int_equal(nc_optim_new("sgd", &o, p, 2, &optim, &e), 0);
    assert_int_equal(nc_optim_states(optim), 0);
    double norm = nc_optim_norm(optim, NULL, nc_kernels_best());
    assert_true(fabs(norm - (double)golden_get(&g, "clip.l2.norm").f[0]) < 1e-6 * norm);
    for (int i = 0; i < 2; i++) {
        golden_tensor clipped = golden_get(&g, i ? "clip.l2.1" : "clip.l2.0");
        for (int64_t k = 0; k < clipped.count; k++)
            assert_true(fabs(p[i].grad[k] * nc_clip_scale(norm, 1) - clipped.f[k]) < 1e-6);
    }
    assert_true(nc_clip_scale(norm, 100) == 1 && nc_clip_scale(norm, 0) == 1);
    assert_true(isnan(nc_clip_scale(NAN, 1)) && nc_clip_scale(INFINITY, 1) == 0);
    nc_optim_free(optim);
    golden_close(&g);
}

typedef struct set { int64_t n; float *p, *g, *m, *v, *w; uint16_t *half; } set;

static set random_set(nc_arena *a, int64_t n, uint64_t seed)
{
    set s = { n, NC_NEW_ARRAY(a, float, n), NC_NEW_ARRAY(a, float, n), NC_NEW_ARRAY(a, float, n), NC_NEW_ARRAY(a, float, n), NC_NEW_ARRAY(a, float, n),
              NC_NEW_ARRAY(a, uint16_t, n) };
    nc_rng r = nc_rng_new(seed, 1);

    for (int64_t i = 0; i < n; i++) {
        s.p[i] = (float)nc_rng_normal(&r), s.g[i] = (float)nc_rng_normal(&r), s.m[i] = (float)nc_rng_normal(&r);
        s.v[i] = (float)nc_rng_uniform(&r), s.w[i] = (float)nc_rng_uniform(&r);
    }
    return s;
}

static void close_arrays(const char *what, nc_isa isa, const float *got, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 3e-6f * (1 + fabsf(want[i]))))
            fail_msg("%s on %s, element %lld of %lld: %.9g, should be %.9g", what, nc_isa_name(isa), (long long)i, (long long)n, (double)got[i], (double)want[i]);
}

/* Every length around a vector: the kernels of all levels against the definition; nothing beyond n is written. */
static void test_kernels(void **state)
{
    const nc_adam_step adam = { 0.5, 0.1, 0.9, 0.99, 0.999, 2e-2, 1.7, 1e-8 };
    const nc_sgd_step sgd = { 0.5, 0.1, 0.9, 0.2, 2e-2, false, false };
    const nc_lion_step lion = { 0.5, 0.9, 0.99, 0.999, 2e-2 };

    (void)state;
    for (int isa = NC_ISA_AVX2; isa <= (int)nc_isa_of_cpu(); isa++) {
        const struct nc_optim_kernels *k = nc_kernels_for((nc_isa)isa)->optim;
        for (int64_t n = 0; n < 70; n++)
            for (int kind = 0; kind < 3; kind++) {
                nc_arena *a = nc_arena_new();
                set x = random_set(a, n + 20, 3), y = random_set(a, n + 20, 3), z = random_set(a, n + 20, 3);
                for (int which = 0; which < 2; which++) {
                    const struct nc_optim_kernels *t = which ? k : &nc_ref_optim;
                    set *s = which ? &x : &y;
                    if (kind == 0)
                        t->adam(&adam, s->p, s->g, s->m, s->v, n % 2 ? s->w : NULL, s->half, n);
                    else if (kind == 1)
                        t->sgd(&sgd, s->p, s->g, n % 2 ? s->m : NULL, s->half, n);
                    else
                        t->lion(&lion, s->p, s->g, s->m, s->half, n);
                }
                close_arrays("p", (nc_isa)isa, x.p, y.p, n);
                close_arrays("m", (nc_isa)isa, x.m, y.m, n);
                close_arrays("v", (nc_isa)isa, x.v, y.v, n);
                close_arrays("largest", (nc_isa)isa, x.w, y.w, n);
                for (int64_t i = 0; i < n + 20; i++) {
                    assert_int_equal(x.half[i], i < n ? nc_f32_to_bf16(x.p[i]) : 0);
                    assert_true(x.g[i] == z.g[i]);
                    if (i >= n)
                        assert_true(x.p[i] == z.p[i] && x.m[i] == z.m[i] && x.v[i] == z.v[i] && x.w[i] == z.w[i]);
                }
                double want = nc_ref_optim.squares(z.p, n);
                assert_true(fabs(k->squares(z.p, n) - want) <= 1e-13 * want);
                nc_arena_free(a);
            }
    }
}

/* Several parameters of odd sizes: same bits with one, two and three threads, in the norm too; state set again goes on to the same bits. */
static void test_threads_and_resume(void **state)
{
    static const int64_t sizes[] = { 1, 70001, 0, 32768, 100 };
    nc_optim_options o = nc_optim_defaults();
    nc_arena *a = nc_arena_new();
    set sets[4][NC_COUNT(sizes)];
    nc_optim *optim[4];
    nc_error e = { 0 };
    double norm[4];

    (void)state;
    o.weight_decay = 0.1;
    for (int way = 0; way < 4; way++) {
        nc_optim_param p[NC_COUNT(sizes)];
        nc_pool *pool = nc_pool_new(way % 3 + 1);
        for (int i = 0; i < NC_COUNT(sizes); i++) {
            set s = sets[way][i] = random_set(a, sizes[i], (uint64_t)i);
            p[i] = (nc_optim_param){ "p", s.n, s.p, s.g, i % 2 ? s.half : NULL, i == 3 ? 0.5 : 1, i == 4 ? 0 : -1, NULL, NULL };
        }
        assert_int_equal(nc_optim_new("adamw_torch", &o, p, NC_COUNT(sizes), &optim[way], &e), 0);
        for (int step = 0; step < 4; step++) {
            norm[way] = nc_optim_norm(optim[way], pool, nc_kernels_best());
            nc_optim_step(optim[way], pool, nc_kernels_best(), 1e-2, nc_clip_scale(norm[way], 1));
            if (way == 3 && step == 1) {                       /* what a checkpoint does */
                nc_optim *next;
                assert_int_equal(nc_optim_new("adamw_torch", &o, p, NC_COUNT(sizes), &next, &e), 0);
                assert_string_equal(nc_optim_state_name(next, 1), "exp_avg_sq");
                nc_optim_set_steps(next, nc_optim_steps(optim[way]));
                for (int i = 0; i < NC_COUNT(sizes); i++)
                    for (int s = 0; s < nc_optim_states(next); s++)
                        memcpy(nc_optim_state(next, i, s), nc_optim_state(optim[way], i, s), (size_t)sizes[i] * sizeof(float));
                nc_optim_free(optim[way]);
                optim[way] = next;
            }
        }
        assert_true(norm[way] == norm[0]);
        for (int i = 0; i < NC_COUNT(sizes); i++) {
            assert_memory_equal(sets[way][i].p, sets[0][i].p, (size_t)sizes[i] * sizeof(float) + (sizes[i] == 0));
            assert_memory_equal(nc_optim_state(optim[way], i, 0), nc_optim_state(optim[0], i, 0), (size_t)sizes[i] * sizeof(float) + (sizes[i] == 0));
        }
        nc_pool_free(pool);
    }
    for (int way = 0; way < 4; way++)
        nc_optim_free(optim[way]);
    nc_arena_free(a);
}

/* A copy that is packed holds what a plain one would, on every level; the norm is that of the same numbers. */
static void test_packed(void **state)
{
    enum { N = 150, K = 1030 };
    nc_optim_options o = nc_optim_defaults();

    (void)state;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
        nc_arena *a = nc_arena_new();
        nc_pool *pool = nc_pool_new(2);
        set s[2] = { random_set(a, N * K, 1), random_set(a, N * K, 1) };
        nc_gemm_b packed, want;
        nc_optim *optim[2];
        nc_error e = { 0 };
        double norm[2], squares[2] = { 0, 0 };
        assert_int_equal(nc_gemm_b_new(&packed, NC_GEMM_BF16, N, K, &e), 0);
        assert_int_equal(nc_gemm_b_new(&want, NC_GEMM_BF16, N, K, &e), 0);
        packed.turned = nc_arena_alloc(a, nc_gemm_panels(K) * (int64_t)nc_gemm_panel_bytes(NC_GEMM_BF16, N));
        for (int way = 0; way < 2; way++) {
            nc_optim_param p = { "w", N * K, s[way].p, s[way].g, way ? NULL : s[way].half, 1, -1, way ? &packed : NULL, &squares[way] };
            assert_int_equal(nc_optim_new("adamw_torch", &o, &p, 1, &optim[way], &e), 0);
            norm[way] = nc_optim_norm(optim[way], pool, kernels);
            squares[way] = 6.25;                     /* known from now on: the gradient is not read for it */
            assert_true(nc_optim_norm(optim[way], pool, kernels) == 2.5);
            nc_optim_step(optim[way], pool, kernels, 1e-2, 1);
            nc_optim_free(optim[way]);
        }
        assert_true(fabs(norm[0] - norm[1]) <= 1e-12 * norm[0]);
        assert_memory_equal(s[0].p, s[1].p, N * K * sizeof(float));
        nc_gemm_source source = { NC_BF16, s[0].half, K, false };
        assert_int_equal(nc_gemm_pack(kernels, NULL, &want, &source, false, &e), 0);
        assert_memory_equal(packed.data, want.data, want.bytes);
        for (int k = 0; k < K; k += 7)
            for (int n = 0; n < N; n++)
                assert_int_equal(((uint16_t *)packed.turned)[((k / 16 * ((N + 1) / 2) + n / 2) * 16 + k % 16) * 2 + n % 2], s[0].half[n * K + k]);
        nc_gemm_b_free(&packed);
        nc_gemm_b_free(&want);
        nc_pool_free(pool);
        nc_arena_free(a);
    }
}

static void test_refused(void **state)
{
    nc_optim_options o = nc_optim_defaults(), bad = o;
    nc_optim *optim = NULL;
    nc_error e = { 0 };

    (void)state;
    assert_int_equal(nc_optim_new("adamv", &o, NULL, 0, &optim, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "adamw_torch"));
    bad.beta2 = 1;
    assert_int_equal(nc_optim_states_of("adamw_torch", &bad, &e), NC_EINVAL);
    bad = o, bad.nesterov = true;
    assert_int_equal(nc_optim_new("sgd", &bad, NULL, 0, &optim, &e), NC_EINVAL);
    assert_int_equal(nc_optim_new("adam", &o, &(nc_optim_param){ .name = "w", .count = 3 }, 1, &optim, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "w has no master"));
    assert_null(optim);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_clipping), cmocka_unit_test(test_kernels),
                                        cmocka_unit_test(test_threads_and_resume), cmocka_unit_test(test_packed), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
