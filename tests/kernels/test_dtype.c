/* test_dtype.c - every f16, bf16 and f8 code survives the way to f32 and back; rounding is to nearest even; names parse; levels of the CPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include "kernels/kernels.h"

static void halves(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = nc_f16_to_f32((uint16_t)h), b = nc_bf16_to_f32((uint16_t)h);
        if (f == f) {
            int exponent = h >> 10 & 31, mantissa = h & 1023;
            double value = exponent == 31 ? (double)INFINITY : exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
            assert_true((double)f == (h & 0x8000 ? -value : value));
            assert_int_equal(nc_f32_to_f16(f), h);
        } else
            assert_true(nc_f16_to_f32(nc_f32_to_f16(f)) != nc_f16_to_f32(nc_f32_to_f16(f)));
        if (b == b)
            assert_int_equal(nc_f32_to_bf16(b), h);
    }
}

/* Between two neighbouring codes: below the middle down, above up, at the middle to the even code. */
static void rounding(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        double low = (double)nc_f16_to_f32((uint16_t)h), high = (double)nc_f16_to_f32((uint16_t)(h + 1)), middle = (low + high) / 2;
        assert_int_equal(nc_f32_to_f16((float)middle), h & 1 ? h + 1 : h);
        assert_int_equal(nc_f32_to_f16(nextafterf((float)middle, 0)), h);
        assert_int_equal(nc_f32_to_f16(nextafterf((float)middle, INFINITY)), h + 1);
    }
    assert_int_equal(nc_f32_to_f16(65519.9f), 0x7bff);
    assert_int_equal(nc_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(nc_f32_to_bf16(1.00390625f), 0x3f80);
    assert_int_equal(nc_f32_to_bf16(1.01171875f), 0x3f82);
}

static void bytes8(void **state)
{
    (void)state;
    uint8_t out;
    assert_true(nc_f8_e4m3_to_f32(0x7e) == 448.0f);
    assert_true(nc_f8_e4m3_to_f32(0x01) == 0x1p-9f);
    assert_true(nc_f8_e4m3_to_f32(0x7f) != nc_f8_e4m3_to_f32(0x7f));
    assert_true(nc_f8_e5m2_to_f32(0x7b) == 57344.0f);
    assert_true(isinf(nc_f8_e5m2_to_f32(0x7c)));
    for (int b = 0; b < 256; b++) {
        float f = nc_f8_e4m3_to_f32((uint8_t)b);
        if (f != f)
            continue;
        nc_dtype_store(NC_F8_E4M3, &out, 0, (double)f);
        assert_int_equal(out, b);
    }
    nc_dtype_store(NC_I8, &out, 0, -300);
    assert_int_equal((int8_t)out, -128);
}

static void names(void **state)
{
    (void)state;
    nc_dtype t;
    for (int i = 0; i < NC_DTYPES; i++) {
        assert_int_equal(nc_dtype_parse(nc_dtype_name((nc_dtype)i), &t), 0);
        assert_int_equal(t, i);
    }
    assert_int_equal(nc_dtype_parse("torch.bfloat16", &t), 0);
    assert_int_equal(t, NC_BF16);
    assert_int_equal(nc_dtype_parse("float12", &t), NC_ENOTFOUND);
    assert_int_equal(nc_dtype_parse(NULL, &t), NC_ENOTFOUND);
}

static void levels(void **state)
{
    (void)state;
    nc_isa isa;
    assert_int_equal(nc_isa_parse("avx512bf16", &isa), 0);
    assert_int_equal(isa, NC_ISA_AVX512BF16);
    assert_int_equal(nc_isa_parse("mmx", &isa), NC_ENOTFOUND);
    for (int i = 0; i < NC_ISAS; i++) {
        const nc_kernels *k = nc_kernels_for((nc_isa)i);
        assert_true((k != NULL) == (i <= (int)nc_isa_of_cpu()));
        if (k)
            assert_int_equal(k->isa, i);
    }
    setenv("NUNCHI_CPU", "scalar", 1);
    assert_int_equal(nc_isa_best(), NC_ISA_SCALAR);
    setenv("NUNCHI_CPU", "amx", 1);
    assert_int_equal(nc_isa_best(), nc_isa_of_cpu());
    unsetenv("NUNCHI_CPU");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(halves), cmocka_unit_test(rounding), cmocka_unit_test(bytes8), cmocka_unit_test(names),
                                        cmocka_unit_test(levels) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
