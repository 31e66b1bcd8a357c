/* test_rope.c - rotary positions: op_check for both styles, whole and partial; the table against cos and sin in double for several axes; the property that
 * scores depend on the difference of positions only; refused shapes. */
#include "graph/op_check.h"
#include "kernels/rope.h"

enum { HALF = 6 };
static const float freqs[HALF] = { 1, 0.46f, 0.21f, 0.1f, 0.0464f, 0.0215f };
static const int axes[HALF] = { 0, 1, 1, 0, 0, 1 };
typedef struct how { nc_rope_style style; bool two; } how;

static nc_value *build(nc_graph *g, nc_value *const *in, const void *arg)
{
    const how *h = arg;
    nc_value *c = nc_rope_table(g, in[1], freqs, h->two ? axes : NULL, HALF, 1.25);
    return nc_rope(g, in[0], c, nc_output(c, 1), h->style);
}

static void test_rope(void **state)
{
    (void)state;
    static const int32_t pos[10] = { 0, 5, 1, 900, 2, 4, 77777, 3, 12, 0 };
    for (int way = 0; way < 8; way++) {
        how h = { way & 1 ? NC_ROPE_NEIGHBOURS : NC_ROPE_HALVES, way & 2 };
        int64_t width = way & 4 ? 2 * HALF : 2 * HALF + 5;
        op_check(&(op_case){ .name = "rope", .build = build, .arg = &h,
                             .in = { { NC_SHAPE(5, 3, width), .counted = true }, { NC_SHAPE(5, 2), .counted = true, .ints = pos } } });
    }
    op_check_refused(&(op_case){ .name = "narrow head", .build = build, .arg = &(how){ NC_ROPE_HALVES, false },
                                 .in = { { NC_SHAPE(5, 3, 8) }, { NC_SHAPE(5, 2), .ints = pos } } }, NC_ESHAPE, "a head has 8");
}

static void test_kernels(void **state)
{
    (void)state;
    enum { WIDE = 75, HEADS = 3 };
    static float x[HEADS * 200], y[HEADS * 200], z[HEADS * 200], inv[WIDE], c[WIDE], s[WIDE];
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int half = 1; half <= WIDE; half += half < 20 ? 1 : 11)
            for (int way = 0; way < 4; way++) {
                const struct nc_rope_kernels *k = nc_kernels_for((nc_isa)isa)->rope;
                int32_t position[1] = { 100003 * half };
                for (int i = 0; i < half; i++)
                    inv[i] = (float)pow(10000, -(double)i / half);
                k->table_f32(c, s, position, &(nc_rope_freqs){ half, inv, NULL, 1 });
                for (int i = 0; i < half; i++) {
                    double a = (double)((float)position[0] * inv[i]);
                    assert_true(fabs(c[i] - cos(a)) < 2e-7 && fabs(s[i] - sin(a)) < 2e-7);
                }
                nc_rope_shape shape = { HEADS, 2 * half + 3, half, way & 1, way & 2 };
                for (int i = 0; i < HEADS * 200; i++)
                    x[i] = (float)(i % 17) - 8, y[i] = z[i] = 99;
                k->rotate[0](y, 200, x, 200, c, s, &shape);
                nc_ref_rope.rotate[0](z, 200, x, 200, c, s, &shape);
                for (int i = 0; i < HEADS * 200; i++)
                    assert_true(fabsf(y[i] - z[i]) < 2e-6f);
                k->rotate[0](x, 200, x, 200, c, s, &shape);          /* in place: the same bits */
                for (int h = 0; h < HEADS; h++)
                    assert_memory_equal(x + h * 200, y + h * 200, (size_t)shape.width * 4);
            }
}

/* q at m against k at n: the product depends on m - n. */
static void test_relative(void **state)
{
    (void)state;
    double product[2];
    for (int shift = 0; shift < 2; shift++) {
        float q[2 * HALF], k[2 * HALF], c[HALF], s[HALF];
        const struct nc_rope_kernels *t = nc_kernels_best()->rope;
        nc_rope_freqs f = { HALF, freqs, NULL, 1 };
        nc_rope_shape shape = { 1, 2 * HALF, HALF, false, false };
        for (int i = 0; i < 2 * HALF; i++)
            q[i] = sinf((float)i), k[i] = cosf((float)(3 * i));
        t->table_f32(c, s, (int32_t[]){ 40 + 60 * shift }, &f);
        t->rotate[0](q, 0, q, 0, c, s, &shape);
        t->table_f32(c, s, (int32_t[]){ 33 + 60 * shift }, &f);
        t->rotate[0](k, 0, k, 0, c, s, &shape);
        product[shift] = 0;
        for (int i = 0; i < 2 * HALF; i++)
            product[shift] += (double)q[i] * k[i];
    }
    assert_true(fabs(product[0] - product[1]) < 2e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rope), cmocka_unit_test(test_kernels), cmocka_unit_test(test_relative) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
