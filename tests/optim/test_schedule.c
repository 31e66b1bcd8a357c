/* test_schedule.c - rates of every schedule against transformers', errors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include "golden_safetensors.h"
#include "optim/optim.h"

static nc_schedule schedule_of(const nc_json *c)
{
    nc_schedule s = nc_schedule_defaults();

    s.name = nc_json_string(nc_json_get(c, "get_scheduler"), "");
    s.warmup_steps = nc_json_int(nc_json_get(c, "num_warmup_steps"), 0);
    s.total_steps = nc_json_int(nc_json_get(c, "num_training_steps"), 0);
    s.num_cycles = nc_json_double(nc_json_get(c, "num_cycles"), s.num_cycles);
    s.power = nc_json_double(nc_json_get(c, "power"), s.power);
    s.lr_end = nc_json_double(nc_json_get(c, "lr_end"), s.lr_end);
    s.min_lr = nc_json_double(nc_json_get(c, "min_lr"), s.min_lr);
    s.min_lr_rate = nc_json_double(nc_json_get(c, "min_lr_rate"), s.min_lr_rate);
    s.warmup_lr_rate = nc_json_double(nc_json_get(c, "warmup_lr_rate"), s.warmup_lr_rate);
    s.timescale = nc_json_int(nc_json_get(c, "timescale"), 0);
    s.decay_steps = nc_json_int(nc_json_get(c, "num_decay_steps"), 0);
    s.stable_steps = nc_json_int(nc_json_get(c, "num_stable_steps"), -1);
    s.min_lr_ratio = nc_json_double(nc_json_get(c, "min_lr_ratio"), 0);
    assert_int_equal(nc_schedule_shape_parse(nc_json_string(nc_json_get(c, "warmup_type"), "linear"), &s.warmup_type), 0);
    assert_int_equal(nc_schedule_shape_parse(nc_json_string(nc_json_get(c, "decay_type"), "cosine"), &s.decay_type), 0);
    return s;
}

static void test_golden(void **state)
{
    golden_file g;
    int cases = 0;

    (void)state;
    if (!golden_open(&g, "train/schedules"))
        return;
    double lr = nc_json_double(nc_json_get(g.golden, "base_lr"), 0);
    NC_JSON_EACH(c, nc_json_get(g.golden, "cases")) {
        if (!nc_json_get(c, "get_scheduler"))
            continue;
        nc_schedule s = schedule_of(c);
        nc_error e = { 0 };
        golden_tensor want = golden_get(&g, nc_arena_printf(g.a, "lr.%.*s", (int)c->key.n, c->key.p));
        if (nc_schedule_check(&s, &e) < 0)
            fail_msg("%s", e.message);
        assert_non_null(want.f);
        for (int64_t k = 0; k < want.count; k++)
            if (!(fabs(nc_schedule_rate(&s, lr, k) - (double)want.f[k]) <= 1e-6 * lr))
                fail_msg("%.*s, step %lld: %.9g, should be %.9g", (int)c->key.n, c->key.p, (long long)k, nc_schedule_rate(&s, lr, k), (double)want.f[k]);
        cases++;
    }
    assert_true(cases >= 15);
    golden_close(&g);
}

static void test_refused(void **state)
{
    nc_schedule s = nc_schedule_defaults();
    nc_schedule_shape shape;
    nc_error e = { 0 };

    (void)state;
    s.name = "cosin";
    assert_int_equal(nc_schedule_check(&s, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "cosine_with_restarts"));
    s.name = "warmup_stable_decay", s.total_steps = 10, s.warmup_steps = 6, s.decay_steps = 5;
    assert_int_equal(nc_schedule_check(&s, &e), NC_EINVAL);
    s.name = "linear", s.warmup_steps = -1;
    assert_int_equal(nc_schedule_check(&s, &e), NC_EINVAL);
    assert_int_equal(nc_schedule_shape_parse("square", &shape), NC_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
