/* test_golden_ops.c - single operations of PyTorch and their gradients (golden/ops: activation, basic, norm, conv, pool), in f32 on the best level of this CPU.
 *
 * A case of golden.json names the function, its arguments and inputs; golden.safetensors holds inputs, outputs, the upstream gradient "up" and gradients.
 * BUILDS maps functions to ours; a case without a builder is not asked for here. The number of cases checked is asserted, so none falls out unseen.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "graph/ops.h"

enum { MOST = 4 };
typedef struct golden { nc_arena *a; nc_buf file; nc_json *head, *cases; const char *data; size_t bytes; } golden;
typedef struct sample { nc_graph *g; nc_value *in[MOST]; const nc_json *args; const char *name; } sample;

static void load(golden *s, const char *theme)
{
    nc_error e = { 0 };
    uint64_t n = 0;
    char path[256];

    *s = (golden){ .a = nc_arena_new() };
    snprintf(path, sizeof path, "tests/golden/ops/%s/golden.json", theme);
    if (nc_json_load(s->a, path, &s->cases, &e) < 0)
        fail_msg("%s", e.message);
    snprintf(path, sizeof path, "tests/golden/ops/%s/golden.safetensors", theme);
    if (nc_file_read(path, 1 << 24, &s->file, &e) < 0)
        fail_msg("%s", e.message);
    memcpy(&n, s->file.p, 8);
    assert_true(n < s->file.n);
    assert_int_equal(nc_json_parse(s->a, (nc_str){ s->file.p + 8, (size_t)n }, path, &s->head, &e), 0);
    s->data = s->file.p + 8 + n, s->bytes = s->file.n - 8 - (size_t)n;
}

/* Tensor "<name>/<part>" as aligned floats; false when absent or not F32. */
static bool tensor(const golden *s, const char *name, const char *part, nc_shape *shape, float **out)
{
    const nc_json *t = nc_json_get(s->head, nc_arena_printf(s->a, "%s/%s", name, part));

    if (!t || strcmp(nc_json_string(nc_json_get(t, "dtype"), ""), "F32"))
        return false;
    const nc_json *at = nc_json_get(t, "data_offsets"), *dims = nc_json_get(t, "shape");
    int64_t begin = nc_json_int(nc_json_at(at, 0), 0), end = nc_json_int(nc_json_at(at, 1), 0);
    *shape = (nc_shape){ .rank = dims->count };
    for (int i = 0; i < dims->count; i++)
        shape->dim[i] = nc_json_int(nc_json_at(dims, i), 0);
    assert_true(end <= (int64_t)s->bytes && end - begin == nc_shape_count(shape) * 4);
    *out = nc_arena_copy(s->a, s->data + begin, (size_t)(end - begin) + 4);
    return true;
}

/* ---- how each function is built ---- */

typedef nc_value *builder(const sample *s);
static double number(const sample *s, const char *key, double fallback) { return nc_json_double(nc_json_get(s->args, key), fallback); }
static nc_value *f1(const sample *s, nc_unary kind) { return nc_unary_op(s->g, kind, s->in[0]); }
#define UNARY(fn, kind) static nc_value *fn(const sample *s) { return f1(s, kind); }
UNARY(b_relu, NC_RELU) UNARY(b_silu, NC_SILU) UNARY(b_tanh, NC_TANH) UNARY(b_sigmoid, NC_SIGMOID) UNARY(b_quick, NC_QUICK_GELU) UNARY(b_exp, NC_EXP)
UNARY(b_sin, NC_SIN) UNARY(b_cos, NC_COS) UNARY(b_abs, NC_ABS) UNARY(b_neg, NC_NEG) UNARY(b_square, NC_SQUARE) UNARY(b_erf, NC_ERF) UNARY(b_log, NC_LOG)
UNARY(b_sqrt, NC_SQRT) UNARY(b_rsqrt, NC_RSQRT) UNARY(b_recip, NC_RECIP)
#define BINARY(fn, op) static nc_value *fn(const sample *s) { return op(s->g, s->in[0], s->in[1]); }
BINARY(b_add, nc_add) BINARY(b_sub, nc_sub) BINARY(b_mul, nc_mul) BINARY(b_div, nc_div) BINARY(b_max, nc_maximum) BINARY(b_min, nc_minimum)

static nc_value *b_gelu(const sample *s) { return f1(s, nc_json_get(s->args, "approximate") ? NC_GELU_TANH : NC_GELU); }
static nc_value *b_relu6(const sample *s) { return nc_clamp(s->g, s->in[0], 0, 6); }
static nc_value *b_hardtanh(const sample *s) { return nc_clamp(s->g, s->in[0], -1, 1); }
static nc_value *b_hardsigmoid(const sample *s) { return nc_clamp(s->g, nc_affine(s->g, s->in[0], 1.0 / 6, 0.5), 0, 1); }
static nc_value *b_clamp(const sample *s) { return nc_clamp(s->g, s->in[0], number(s, "min", 0), number(s, "max", 0)); }
static nc_value *b_logsigmoid(const sample *s) { return nc_unary_op(s->g, NC_NEG, nc_unary_op(s->g, NC_SOFTPLUS, nc_unary_op(s->g, NC_NEG, s->in[0]))); }
static nc_value *b_mish(const sample *s) { return nc_mul(s->g, s->in[0], nc_unary_op(s->g, NC_TANH, f1(s, NC_SOFTPLUS))); }
static nc_value *b_softsign(const sample *s) { return nc_div(s->g, s->in[0], nc_affine(s->g, f1(s, NC_ABS), 1, 1)); }
static nc_value *b_tanhshrink(const sample *s) { return nc_sub(s->g, s->in[0], f1(s, NC_TANH)); }
static nc_value *b_relu2(const sample *s) { return nc_unary_op(s->g, NC_SQUARE, f1(s, NC_RELU)); }
static nc_value *b_softplus(const sample *s)
{
    double beta = number(s, "beta", 1);
    return nc_affine(s->g, nc_unary_op(s->g, NC_SOFTPLUS, nc_affine(s->g, s->in[0], beta, 0)), 1 / beta, 0);
}
static nc_value *half(const sample *s, int which)
{
    int64_t n = nc_shape_last(&s->in[0]->shape) / 2;
    return nc_slice(s->g, s->in[0], -1, which * n, n);
}
static nc_value *b_glu(const sample *s) { return nc_gated(s->g, NC_SIGMOID, half(s, 1), half(s, 0)); }
static nc_value *b_gates(const sample *s)
{
    nc_unary kind = strstr(s->name, "swi") ? NC_SILU : strstr(s->name, "geglu") ? NC_GELU : NC_RELU;
    bool second = strstr(s->name, "diffusers");
    return nc_gated(s->g, kind, half(s, second), half(s, !second));
}

/* Softmax over another axis: the axis is moved last and back. */
static nc_value *over_axis(const sample *s, nc_value *(*f)(nc_graph *, nc_value *))
{
    int rank = s->in[0]->shape.rank, axis = (int)number(s, "dim", -1), order[NC_MAX_RANK], back[NC_MAX_RANK], at = 0;

    for (int i = 0; i < rank; i++)
        if (i != axis)
            order[at++] = i;
    order[at] = axis;
    for (int i = 0; i < rank; i++)
        back[order[i]] = i;
    return nc_permute(s->g, f(s->g, nc_permute(s->g, s->in[0], order)), back);
}
static nc_value *b_softmax(const sample *s) { return over_axis(s, nc_softmax); }
static nc_value *b_log_softmax(const sample *s) { return over_axis(s, nc_log_softmax); }

static nc_value *b_layer_norm(const sample *s)
{
    int axes = nc_json_get(s->args, "normalized_shape")->count;
    nc_shape x = s->in[0]->shape;
    int64_t width = 1;
    for (int i = 0; i < axes; i++)
        width *= x.dim[x.rank - 1 - i];
    nc_shape rows = NC_SHAPE(nc_shape_count(&x) / width, width), flat = NC_SHAPE(width);
    nc_value *w = s->in[1] ? nc_reshape(s->g, s->in[1], flat) : NULL, *b = s->in[2] ? nc_reshape(s->g, s->in[2], flat) : NULL;
    return nc_reshape(s->g, nc_layer_norm(s->g, nc_reshape(s->g, s->in[0], rows), w, b, number(s, "eps", 0)), x);
}
static nc_value *b_rms_norm(const sample *s) { return nc_rms_norm(s->g, s->in[0], s->in[1], number(s, "eps", 0), 0); }
static nc_value *b_group_norm(const sample *s) { return nc_group_norm(s->g, s->in[0], (int)number(s, "num_groups", 0), s->in[1], s->in[2], number(s, "eps", 0)); }
static nc_value *b_instance_norm(const sample *s) { return nc_group_norm(s->g, s->in[0], (int)s->in[0]->shape.dim[1], s->in[1], s->in[2], number(s, "eps", 0)); }

static void axes_of(const sample *s, const char *key, int dims, int fallback, int out[3])
{
    const nc_json *v = nc_json_get(s->args, key);

    for (int i = 0; i < dims; i++)
        out[i] = !v ? fallback : (int)nc_json_int(nc_json_is(v, NC_JSON_ARRAY) ? nc_json_at(v, i) : v, 0);
}

static nc_value *b_conv(const sample *s)
{
    nc_conv_attr a = { .dims = s->in[0]->shape.rank - 2, .groups = (int)number(s, "groups", 1) };
    const nc_json *pad = nc_json_get(s->args, "padding");

    axes_of(s, "stride", a.dims, 1, a.stride);
    axes_of(s, "dilation", a.dims, 1, a.dilation);
    if (!nc_json_is(pad, NC_JSON_STRING))
        axes_of(s, "padding", a.dims, 0, a.pad);
    for (int i = 0; nc_json_is(pad, NC_JSON_STRING) && !strcmp(nc_json_string(pad, ""), "same") && i < a.dims; i++) {
        if (s->in[1]->shape.dim[2 + i] % 2 == 0)                      /* one more cell on one side: not symmetric */
            return NULL;
        a.pad[i] = a.dilation[i] * (int)(s->in[1]->shape.dim[2 + i] - 1) / 2;
    }
    return nc_conv(s->g, s->in[0], s->in[1], s->in[2], &a);
}

static nc_value *b_pool(const sample *s)
{
    nc_pool_attr a = { .dims = s->in[0]->shape.rank - 2, .average = strstr(s->name, "avg"), .ceil = nc_json_bool(nc_json_get(s->args, "ceil_mode"), false),
                       .count_pad = nc_json_bool(nc_json_get(s->args, "count_include_pad"), true) };

    if (nc_json_get(s->args, "dilation") || nc_json_get(s->args, "divisor_override") || nc_json_get(s->args, "return_indices"))
        return NULL;
    axes_of(s, "kernel_size", a.dims, 1, a.kernel);
    axes_of(s, "stride", a.dims, 0, a.stride);
    axes_of(s, "padding", a.dims, 0, a.pad);
    return nc_pool_op(s->g, s->in[0], &a);
}

static const struct { const char *op; builder *build; } builds[] = {
    { "torch.nn.functional.relu", b_relu }, { "torch.nn.functional.relu6", b_relu6 }, { "torch.nn.functional.silu", b_silu }, { "torch.nn.functional.mish", b_mish },
    { "torch.nn.functional.softplus", b_softplus }, { "torch.nn.functional.softsign", b_softsign }, { "torch.nn.functional.tanhshrink", b_tanhshrink },
    { "torch.nn.functional.hardsigmoid", b_hardsigmoid }, { "torch.nn.functional.hardtanh", b_hardtanh }, { "torch.nn.functional.logsigmoid", b_logsigmoid },
    { "torch.tanh", b_tanh }, { "torch.sigmoid", b_sigmoid }, { "torch.nn.functional.gelu", b_gelu }, { "x * sigmoid(1.702 x)", b_quick }, { "relu(x)^2", b_relu2 },
    { "torch.nn.functional.glu", b_glu }, { "act(first half) * second half, act = silu", b_gates }, { "act(first half) * second half, act = gelu", b_gates },
    { "act(first half) * second half, act = relu", b_gates }, { "first half * gelu(second half), as diffusers' GEGLU", b_gates },
    { "torch.add", b_add }, { "torch.sub", b_sub }, { "torch.mul", b_mul }, { "torch.div", b_div }, { "torch.exp", b_exp }, { "torch.sin", b_sin }, { "torch.cos", b_cos },
    { "torch.abs", b_abs }, { "torch.neg", b_neg }, { "torch.square", b_square }, { "torch.erf", b_erf }, { "torch.log", b_log }, { "torch.sqrt", b_sqrt },
    { "torch.rsqrt", b_rsqrt }, { "torch.reciprocal", b_recip }, { "torch.maximum", b_max }, { "torch.minimum", b_min }, { "torch.clamp", b_clamp },
    { "torch.softmax", b_softmax }, { "torch.log_softmax", b_log_softmax },
    { "torch.nn.functional.layer_norm", b_layer_norm }, { "torch.nn.functional.rms_norm", b_rms_norm }, { "torch.nn.functional.group_norm", b_group_norm },
    { "torch.nn.functional.instance_norm", b_instance_norm },
    { "torch.nn.functional.conv1d", b_conv }, { "torch.nn.functional.conv2d", b_conv }, { "torch.nn.functional.conv3d", b_conv },
    { "torch.nn.functional.max_pool1d", b_pool }, { "torch.nn.functional.max_pool2d", b_pool }, { "torch.nn.functional.max_pool3d", b_pool },
    { "torch.nn.functional.avg_pool1d", b_pool }, { "torch.nn.functional.avg_pool2d", b_pool }, { "torch.nn.functional.avg_pool3d", b_pool },
};

/* ---- one case ---- */

static void compare(const char *theme, const char *name, const char *what, const float *got, const float *want, int64_t n, double tolerance)
{
    double top = 1e-6;

    for (int64_t i = 0; i < n; i++)
        top = isfinite(want[i]) ? fmax(top, fabs((double)want[i])) : top;
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * top) && !(isnan(want[i]) && isnan(got[i])) && got[i] != want[i])
            fail_msg("%s/%s %s[%lld] is %.9g, should be %.9g", theme, name, what, (long long)i, (double)got[i], (double)want[i]);
}

static bool run_case(const golden *f, const char *theme, const nc_json *c)
{
    const char *name = c->key.p, *op = nc_json_string(nc_json_get(c, "op"), "");
    sample s = { .args = nc_json_get(c, "args"), .name = name };
    nc_shape shape;
    float *data, *up;
    builder *build = NULL;
    nc_error e = { 0 };
    nc_plan *p;
    int n = 0;

    for (int i = 0; i < NC_COUNT(builds); i++)
        if (!strcmp(builds[i].op, op))
            build = builds[i].build;
    if (!build)
        return false;
    s.g = nc_graph_new(NC_F32);
    NC_JSON_EACH(input, nc_json_get(c, "inputs")) {
        if (n == MOST || !tensor(f, name, input->text.p, &shape, &data))
            fail_msg("%s/%s: input %s is no F32 tensor", theme, name, input->text.p);
        s.in[n] = nc_input(s.g, input->text.p, NC_F32, shape, -1);
        s.in[n]->data = data;
        s.in[n++]->wants_grad = true;
    }
    nc_value *y = build(&s);
    if (!y) {
        nc_graph_free(s.g);
        return false;
    }
    nc_keep(s.g, y);
    assert_true(tensor(f, name, "up", &shape, &up));
    nc_value *seed = nc_input(s.g, "up", NC_F32, shape, -1);
    seed->data = up;
    if (nc_graph_check(s.g, &e) < 0 || nc_graph_backward(s.g, nc_sum_all(s.g, nc_mul(s.g, y, seed)), false, &e) < 0)
        fail_msg("%s/%s: %s", theme, name, e.message);
    for (int i = 0; i < n; i++)
        nc_keep(s.g, nc_graph_gradient(s.g, s.in[i]));
    assert_int_equal(nc_plan_new(s.g, 1, &p, &e), 0);
    assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
    if (nc_plan_run(p, &(nc_run_options){ .training = true }, &e) < 0)
        fail_msg("%s/%s: %s", theme, name, e.message);
    double tolerance = fmax(1e-5, 4 * nc_json_double(nc_json_get(c, "float64"), 0));
    assert_true(tensor(f, name, "out", &shape, &data));
    assert_true(nc_shape_equal(&shape, &y->shape));
    compare(theme, name, "out", y->data, data, nc_shape_count(&shape), tolerance);
    for (int i = 0; i < n; i++) {
        char part[64];
        snprintf(part, sizeof part, "grad.%s", s.in[i]->name);
        if (tensor(f, name, part, &shape, &data))
            compare(theme, name, part, nc_graph_gradient(s.g, s.in[i])->data, data, nc_shape_count(&shape), 2 * tolerance);
    }
    nc_plan_free(p);
    nc_graph_free(s.g);
    return true;
}

static void theme(const char *name, int expected)
{
    golden f;
    int checked = 0;

    load(&f, name);
    NC_JSON_EACH(c, nc_json_get(f.cases, "cases"))
        checked += run_case(&f, name, c);
    nc_buf_free(&f.file);
    nc_arena_free(f.a);
    assert_int_equal(checked, expected);
}

static void test_activation(void **state) { (void)state; theme("activation", 21); }
static void test_basic(void **state) { (void)state; theme("basic", 39); }
static void test_norm(void **state) { (void)state; theme("norm", 9); }
static void test_conv(void **state) { (void)state; theme("conv", 18); }
static void test_pool(void **state) { (void)state; theme("pool", 13); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_activation), cmocka_unit_test(test_basic), cmocka_unit_test(test_norm), cmocka_unit_test(test_conv),
                                        cmocka_unit_test(test_pool) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
