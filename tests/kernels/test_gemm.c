/* test_gemm.c - products at every ISA level against the definition; packing there and back; same bits for any rows, threads and path. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "base/arena.h"
#include "kernels/dirty_stack.h"
#include "kernels/gemm.h"

static uint32_t state;
static float rnd(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)(state >> 8) / 8388608.0f - 1.0f;
}

static void *block(size_t bytes) { void *p; assert_int_equal(posix_memalign(&p, 64, (bytes + 63) / 64 * 64 + 64), 0); return p; }
static float widen(nc_dtype t, const void *p, int64_t i) { return (float)nc_dtype_load(t, p, i); }

/* Random numbers of a type, as stored. */
static void *fill(nc_dtype t, int64_t n)
{
    char *p = block(nc_dtype_bytes(t, n));
    for (int64_t i = 0; i < n; i++)
        nc_dtype_store(t, p, i, rnd());
    return p;
}

/* ggml blocks with every nibble and byte value. */
static void *fill_blocks(nc_dtype t, int64_t n)
{
    const nc_dtype_info *info = nc_dtype_get(t);
    uint8_t *p = block(nc_dtype_bytes(t, n));
    for (int64_t i = 0; i < n / 32; i++) {
        uint8_t *b = p + i * info->bytes;
        uint16_t d = nc_f32_to_f16(rnd() * 0.01f);
        memcpy(b, &d, 2);
        for (int j = 2; j < info->bytes; j++)
            b[j] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    }
    return p;
}

static float block_value(nc_dtype t, const uint8_t *p, int64_t i)
{
    const uint8_t *b = p + i / 32 * nc_dtype_get(t)->bytes;
    uint16_t d;
    memcpy(&d, b, 2);
    int j = (int)(i % 32);
    int q = t == NC_Q8_0 ? (int8_t)b[2 + j] : (j < 16 ? b[2 + j] & 15 : b[2 + j - 16] >> 4) - 8;
    return nc_f16_to_f32(d) * (float)q;
}

/* What a row's values count as beside quantized storage: rounded, block by block, to a grid of 2^-11 of the largest's power of two. */
static void block_values(float *v, int64_t k)
{
    for (int64_t i = 0; i < k; i += 32) {
        float max = 0;
        int exponent;
        for (int j = 0; j < 32; j++)
            max = fabsf(v[i + j]) > max ? fabsf(v[i + j]) : max;
        frexpf(max, &exponent);
        for (int j = 0; j < 32; j++)
            v[i + j] = max < 0x1p-100f ? 0 : ldexpf(rintf(ldexpf(v[i + j], 12 - exponent)), exponent - 12);
    }
}

typedef struct shape { int64_t m, n, k; } shape;
static const shape shapes[] = {
    { 1, 1, 1 }, { 1, 16, 2 }, { 3, 17, 5 }, { 14, 32, 64 }, { 15, 33, 31 }, { 29, 48, 100 }, { 33, 70, 129 }, { 7, 200, 96 }, { 64, 100, 257 }, { 2, 5, 1030 }, { 0, 4, 4 }, { 4, 6, 0 },
};

typedef struct variant { nc_dtype a, w, c; nc_gemm_kind kind; bool at, wt, accumulate, bias, plain; } variant;

/* One product by nc_gemm (or nc_gemm_plain) and by the definition on the values the contract states. */
static void check_product(const nc_kernels *kernels, nc_pool *pool, shape s, variant v)
{
    bool bf16 = v.a == NC_BF16 && v.kind != NC_GEMM_F32, quant = v.w == NC_Q8_0 || v.w == NC_Q4_0;
    int64_t lda = v.at ? s.m + 3 : s.k + 5, ldc = s.n + 7, ws = quant ? s.k : v.wt ? s.n + 2 : s.k + 1;
    void *a = fill(v.a, (v.at ? s.k : s.m) * lda + 1), *w = quant ? fill_blocks(v.w, s.n * ws) : fill(v.w, (v.wt ? s.k : s.n) * ws + 1);
    void *c = fill(v.c, s.m * ldc + 1), *before = block(nc_dtype_bytes(v.c, s.m * ldc + 1)), *bias = fill(NC_BF16, s.n);
    memcpy(before, c, nc_dtype_bytes(v.c, s.m * ldc + 1));
    nc_gemm_source source = { v.w, w, ws, v.wt };
    nc_gemm_call call = { .m = s.m, .a = a, .a_dtype = v.a, .lda = lda, .a_transposed = v.at, .c = c, .c_dtype = v.c, .ldc = ldc,
                          .bias = v.bias ? bias : NULL, .bias_dtype = NC_BF16, .accumulate = v.accumulate };
    size_t bytes = nc_gemm_workspace(kernels, v.kind, s.m, s.n, s.k, v.a, nc_pool_threads(pool), v.plain);
    char *workspace = block(bytes + 64);
    memset(workspace, 0xff, bytes);
    memset(workspace + bytes, 0x5a, 64);
    dirty_stacks(pool);
    if (v.plain) {
        nc_gemm_plain(kernels, pool, &call, &source, v.kind, s.n, s.k, workspace);
    } else {
        nc_gemm_b b;
        nc_error e = { 0 };
        assert_int_equal(nc_gemm_b_new(&b, v.kind, s.n, s.k, &e), 0);
        assert_int_equal(nc_gemm_pack(kernels, pool, &b, &source, s.m % 2, &e), 0);
        dirty_stacks(pool);
        nc_gemm(kernels, pool, &call, &b, workspace);
        nc_gemm_b_free(&b);
    }
    for (int i = 0; i < 64; i++)
        assert_int_equal((uint8_t)workspace[bytes + (size_t)i], 0x5a);
    float *row = block((size_t)s.k * 4);
    for (int64_t i = 0; i < s.m; i++) {
        for (int64_t k = 0; k < s.k; k++)
            row[k] = widen(v.a, a, v.at ? k * lda + i : i * lda + k);
        if (bf16 && v.kind != NC_GEMM_BF16)
            block_values(row, s.k);
        for (int64_t j = 0; j < ldc; j++) {
            float got = widen(v.c, c, i * ldc + j), old = widen(v.c, before, i * ldc + j);
            if (j >= s.n) {
                assert_true(got == old);
                continue;
            }
            double sum = v.accumulate ? old : 0, size = fabs(sum);
            for (int64_t k = 0; k < s.k; k++) {
                float x = row[k], y = quant ? block_value(v.w, w, j * ws + k) : widen(v.w, w, v.wt ? k * ws + j : j * ws + k);
                if (bf16 && v.kind == NC_GEMM_BF16)
                    y = nc_bf16_to_f32(nc_f32_to_bf16(y));
                sum += (double)x * y;
                size += fabs((double)x * y);
            }
            if (v.bias)
                sum += widen(NC_BF16, bias, j), size += 1;
            double limit = size * 1e-7 * (4 + sqrt((double)s.k)) + (v.c == NC_BF16 ? fabs(sum) / 256 : 0) + 1e-30;
            if (!(fabs(got - sum) <= limit))   /* a NaN is over every limit */
                fail_msg("%s m %lld n %lld k %lld at (%lld,%lld): %.9g, should be %.9g (a %d w %d kind %d)", nc_isa_name(kernels->isa), (long long)s.m,
                         (long long)s.n, (long long)s.k, (long long)i, (long long)j, got, sum, v.a, v.w, v.kind);
        }
    }
    free(row);
    free(a), free(w), free(c), free(before), free(bias), free(workspace);
}

static void matches_definition(void **unused)
{
    static const variant variants[] = {
        { NC_F32, NC_F32, NC_F32, NC_GEMM_F32, 0, 0, 0, 0, 0 },  { NC_F32, NC_F32, NC_F32, NC_GEMM_F32, 1, 1, 1, 0, 1 },
        { NC_F32, NC_BF16, NC_BF16, NC_GEMM_BF16, 0, 0, 0, 1, 0 }, { NC_F32, NC_F16, NC_F32, NC_GEMM_F32, 0, 1, 0, 1, 0 },
        { NC_BF16, NC_BF16, NC_F32, NC_GEMM_BF16, 0, 0, 0, 0, 0 }, { NC_BF16, NC_F32, NC_BF16, NC_GEMM_BF16, 0, 1, 0, 1, 1 },
        { NC_BF16, NC_BF16, NC_F32, NC_GEMM_BF16, 1, 1, 1, 0, 1 }, { NC_BF16, NC_F32, NC_F32, NC_GEMM_F32, 0, 0, 0, 1, 0 },
        { NC_BF16, NC_F16, NC_BF16, NC_GEMM_BF16, 1, 0, 1, 0, 1 }, { NC_F32, NC_F64, NC_F32, NC_GEMM_F32, 0, 0, 0, 0, 0 },
        { NC_BF16, NC_Q8_0, NC_F32, NC_GEMM_Q8_0, 0, 0, 0, 1, 0 }, { NC_F32, NC_Q8_0, NC_F32, NC_GEMM_Q8_0, 0, 0, 1, 0, 0 },
        { NC_BF16, NC_Q4_0, NC_BF16, NC_GEMM_Q4_0, 0, 0, 1, 0, 0 }, { NC_F32, NC_Q4_0, NC_F32, NC_GEMM_Q4_0, 0, 0, 0, 0, 0 },
        { NC_BF16, NC_Q8_0, NC_BF16, NC_GEMM_Q8_0, 1, 0, 1, 1, 0 }, { NC_BF16, NC_Q4_0, NC_F32, NC_GEMM_Q4_0, 1, 0, 0, 0, 0 },
        { NC_BF16, NC_Q8_0, NC_F32, NC_GEMM_BF16, 0, 0, 0, 0, 0 }, { NC_F32, NC_Q4_0, NC_F32, NC_GEMM_F32, 0, 0, 0, 0, 0 },
    };
    (void)unused;
    nc_pool *pool = nc_pool_new(2);
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int i = 0; i < NC_COUNT(shapes); i++)
            for (int j = 0; j < NC_COUNT(variants); j++) {
                bool quant = variants[j].w == NC_Q8_0 || variants[j].w == NC_Q4_0;
                shape s = shapes[i];
                if (quant)
                    s.k = (s.k + 31) / 32 * 32;
                check_product(nc_kernels_for((nc_isa)isa), pool, s, variants[j]);
            }
    nc_pool_free(pool);
}

/* Every row alone, all together, with 1, 2 and 3 threads, and straight from the plain weight: the same bits. */
static void same_bits(void **unused)
{
    enum { M = 67, N = 150, K = 352 };
    static const nc_dtype stored[] = { NC_F32, NC_BF16, NC_Q8_0, NC_Q4_0 };
    (void)unused;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int t = 0; t < NC_COUNT(stored); t++)
            for (int h = 0; h < 2; h++) {
                const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
                nc_dtype ad = h ? NC_BF16 : NC_F32;
                bool quant = t >= 2;
                void *a = fill(ad, M * K), *w = quant ? fill_blocks(stored[t], N * K) : fill(stored[t], N * K);
                nc_gemm_source source = { stored[t], w, K, false };
                nc_gemm_kind kind = nc_gemm_kind_for(stored[t], h);
                nc_gemm_b b;
                assert_int_equal(nc_gemm_b_new(&b, kind, N, K, NULL), 0);
                assert_int_equal(nc_gemm_pack(kernels, NULL, &b, &source, false, NULL), 0);
                float *want = block(M * N * 4), *got = block(M * N * 4);
                for (int threads = 1; threads <= 3; threads++) {
                    nc_pool *pool = nc_pool_new(threads);
                    void *workspace = block(nc_gemm_workspace(kernels, kind, M, N, K, ad, threads, true));
                    nc_gemm_call call = { .m = M, .a = a, .a_dtype = ad, .lda = K, .c = threads == 1 ? want : got, .c_dtype = NC_F32, .ldc = N };
                    nc_gemm(kernels, pool, &call, &b, workspace);
                    if (threads > 1)
                        assert_memory_equal(want, got, M * N * 4);
                    for (int step = 1; step <= 13; step += 3) {
                        memset(got, 0, M * N * 4);
                        for (int64_t i = 0; i < M; i += step) {
                            nc_gemm_call part = call;
                            part.m = i + step > M ? M - i : step;
                            part.a = (const char *)a + nc_dtype_bytes(ad, i * K);
                            part.c = got + i * N;
                            nc_gemm(kernels, pool, &part, &b, workspace);
                        }
                        assert_memory_equal(want, got, M * N * 4);
                    }
                    if (!quant) {
                        call.c = got;
                        nc_gemm_plain(kernels, pool, &call, &source, kind, N, K, workspace);
                        assert_memory_equal(want, got, M * N * 4);
                    }
                    free(workspace);
                    nc_pool_free(pool);
                }
                nc_gemm_b_free(&b);
                free(a), free(w), free(want), free(got);
            }
}

/* Products of bf16 by quantized panels have the same bits at every level; tiny and zero blocks count as zero, and what is no number comes out as none. */
static void same_bits_at_every_level(void **unused)
{
    enum { M = 41, N = 75, K = 224 };
    static const nc_dtype stored[] = { NC_Q8_0, NC_Q4_0 };
    (void)unused;
    for (int t = 0; t < NC_COUNT(stored); t++)
        for (int type = 0; type < 2; type++) {
            uint16_t *a = fill(NC_BF16, M * K), *bias = fill(NC_BF16, N);
            void *w = fill_blocks(stored[t], N * K), *old = fill(type ? NC_BF16 : NC_F32, M * N);
            size_t size = M * N * (type ? 2 : 4);
            char *want = block(size), *got = block(size);
            memset(a, 0, 64);
            for (int k = 0; k < 32; k++)
                a[K + k] = nc_f32_to_bf16(1e-38f * rnd());
            a[2 * K + 40] = 0x7fc0, a[3 * K + 50] = 0xff80;
            nc_gemm_source source = { stored[t], w, K, false };
            nc_gemm_b b;
            assert_int_equal(nc_gemm_b_new(&b, nc_gemm_kind_for(stored[t], true), N, K, NULL), 0);
            assert_int_equal(nc_gemm_pack(nc_kernels_best(), NULL, &b, &source, false, NULL), 0);
            for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
                for (int step = 1; step < 2 * M; step += 5) {
                    const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
                    void *workspace = block(nc_gemm_workspace(kernels, b.kind, M, N, K, NC_BF16, 1, false));
                    char *c = isa == 0 && step == 1 ? want : got;
                    memcpy(c, old, size);
                    for (int64_t i = 0; i < M; i += step) {
                        nc_gemm_call call = { .m = i + step > M ? M - i : step, .a = a + i * K, .a_dtype = NC_BF16, .lda = K, .c = c + (size_t)(i * N) * (type ? 2 : 4),
                                              .c_dtype = type ? NC_BF16 : NC_F32, .ldc = N, .bias = bias, .bias_dtype = NC_BF16, .accumulate = true };
                        nc_gemm(kernels, NULL, &call, &b, workspace);
                    }
                    for (int64_t i = 0; i < M; i++)
                        for (int64_t j = 0; j < N; j++) {
                            float x = widen(type ? NC_BF16 : NC_F32, want, i * N + j), y = widen(type ? NC_BF16 : NC_F32, c, i * N + j);
                            if (!(i == 2 || i == 3 ? isnan(x) && isnan(y) : x == y && signbit(x) == signbit(y)))
                                fail_msg("%s, %d rows at once, at (%lld,%lld): %.9g, should be %.9g", nc_isa_name(kernels->isa), step, (long long)i, (long long)j, y, x);
                        }
                    free(workspace);
                }
            nc_gemm_b_free(&b);
            free(a), free(w), free(old), free(bias), free(want), free(got);
        }
}

static void same_bits_of(const int64_t M, const int64_t N, const int64_t K)
{
    static const nc_dtype types[] = { NC_F32, NC_BF16 };
    void *a = fill(NC_BF16, M * K), *w = fill(NC_BF16, N * K), *bias = fill(NC_F32, N);
    nc_gemm_source source = { NC_BF16, w, K, false };
    nc_gemm_b b;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int v = 0; v < 4; v++) {
            const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
            nc_dtype type = types[v % 2];
            assert_int_equal(nc_gemm_b_new(&b, NC_GEMM_BF16, N, K, NULL), 0);
            assert_int_equal(nc_gemm_pack(kernels, NULL, &b, &source, false, NULL), 0);
            size_t size = nc_dtype_bytes(type, M * N), element = nc_dtype_bytes(type, 1);
            void *old = fill(type, M * N), *want = block(size), *got = block(size);
            memcpy(want, old, size);
            nc_gemm_call call = { .m = M, .a = a, .a_dtype = NC_BF16, .lda = K, .c = want, .c_dtype = type, .ldc = N, .accumulate = v < 2, .bias = v < 2 ? NULL : bias };
            void *workspace = block(nc_gemm_workspace(kernels, b.kind, M, N, K, NC_BF16, 3, false));
            for (int64_t i = 0; i < M; i += 9) {
                nc_gemm_call part = call;
                part.m = i + 9 > M ? M - i : 9;
                part.a = (const char *)a + i * K * 2;
                part.c = (char *)want + (size_t)(i * N) * element;
                nc_gemm(kernels, NULL, &part, &b, workspace);
            }
            for (int threads = 1; threads <= 3; threads++) {
                nc_pool *pool = nc_pool_new(threads);
                memcpy(got, old, size);
                call.c = got;
                dirty_stacks(pool);
                call.near = threads == 2;
                nc_gemm(kernels, pool, &call, &b, workspace);
                assert_memory_equal(want, got, size);
                nc_pool_free(pool);
            }
            nc_gemm_b_free(&b);
            free(old), free(want), free(got), free(workspace);
        }
    free(a), free(w), free(bias);
}

/* Many rows, where threads have ranges of rows and depth is cut into pieces, and a C so large that it is written past the cache: the bits of the same rows
 * in small calls; C of every type, on top of old values. */
static void same_bits_of_ranges(void **unused)
{
    (void)unused;
    same_bits_of(613, 79, 1390);
    same_bits_of(1033, 1056, 64);
}

/* C = A W from packed panels equals the product with W given plain and transposed. */
static void backward_of_packed(void **unused)
{
    enum { M = 21, N = 83, K = 96 };
    static const nc_dtype stored[] = { NC_F32, NC_BF16, NC_Q8_0, NC_Q4_0 };
    (void)unused;
    nc_pool *pool = nc_pool_new(2);
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int t = 0; t < NC_COUNT(stored); t++)
            for (int h = 0; h < 2; h++) {
                const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
                nc_dtype ad = h ? NC_BF16 : NC_F32;
                void *w = t >= 2 ? fill_blocks(stored[t], N * K) : fill(stored[t], N * K), *a = fill(ad, M * N);
                nc_gemm_source source = { stored[t], w, K, false };
                nc_gemm_b b;
                assert_int_equal(nc_gemm_b_new(&b, nc_gemm_kind_for(stored[t], h), N, K, NULL), 0);
                assert_int_equal(nc_gemm_pack(kernels, pool, &b, &source, false, NULL), 0);
                float *rows = block(N * K * 4), got[M * K], want[M * K];
                assert_int_equal(nc_gemm_unpack(&b, 0, N, rows, NC_F32, NULL), 0);
                void *workspace = block(nc_gemm_backward_workspace(kernels, b.kind, M, N, K, ad, 2));
                nc_gemm_call call = { .m = M, .a = a, .a_dtype = ad, .lda = N, .c = got, .c_dtype = NC_F32, .ldc = K };
                nc_gemm_backward(kernels, pool, &call, &b, workspace);
                nc_gemm_source turned = { NC_F32, rows, K, true };
                nc_gemm_kind kind = h && b.kind != NC_GEMM_F32 ? NC_GEMM_BF16 : NC_GEMM_F32;
                void *other = block(nc_gemm_workspace(kernels, kind, M, K, N, ad, 2, true));
                call.c = want;
                nc_gemm_plain(kernels, pool, &call, &turned, kind, K, N, other);
                assert_memory_equal(got, want, sizeof got);
                nc_gemm_b_free(&b);
                free(w), free(a), free(rows), free(workspace), free(other);
            }
    nc_pool_free(pool);
}

/* A weight that lies as its file holds it (in a mapping: its pages are given back when it is packed) and the same one packed: every row count up to more than it
 * is taken for, whole and a chunk, both types of C, tiny values. */
static void stored_as_packed(const nc_kernels *kernels, nc_pool *pool, const uint16_t *w, int64_t n, int64_t k)
{
    enum { M = 19 };
    const size_t bytes = (size_t)(n * k) * 2;
    uint16_t *a = fill(NC_BF16, M * (k + 3)), *bias = fill(NC_BF16, n);
    float *want = block((size_t)(M * n) * 4), *got = block((size_t)(M * n) * 4);
    nc_gemm_source source = { NC_BF16, w, k, false };
    nc_gemm_b packed, b;
    nc_gemm_stored shared;
    void *room = nc_pages_alloc(bytes), *workspace = block(nc_gemm_workspace(kernels, NC_GEMM_BF16, M, n, k, NC_BF16, nc_pool_threads(pool), false));
    for (int i = 0; i < k; i++)
        a[k + 3 + i] = nc_f32_to_bf16(2e-38f * rnd());
    assert_int_equal(nc_gemm_b_new(&packed, NC_GEMM_BF16, n, k, NULL), 0);
    assert_int_equal(nc_gemm_pack(kernels, pool, &packed, &source, false, NULL), 0);
    assert_int_equal(nc_gemm_b_store(&b, &shared, n, k, w, room, NULL), 0);
    nc_gemm_unpack_row(&b, n - 1, got, NC_F32);
    for (int i = 0; i < k; i++)
        assert_true(got[i] == nc_bf16_to_f32(w[(n - 1) * k + i]));
    for (int m = 1; m <= M; m += m < 15 ? 2 : 1)
        for (int way = 0; way < 4; way++) {
            const int64_t row0 = way & 1 && n > 32 ? 16 : 0, many = n - row0;
            nc_gemm_b of[2] = { nc_gemm_chunk(&packed, row0, many), nc_gemm_chunk(&b, row0, many) };
            for (int i = 0; i < 2; i++) {
                nc_gemm_call c = { .m = m, .a = a, .a_dtype = NC_BF16, .lda = k + 3, .c = i ? got : want, .c_dtype = way & 2 ? NC_BF16 : NC_F32, .ldc = many,
                                   .bias = way == 3 ? NULL : bias, .bias_dtype = NC_BF16 };
                nc_gemm(kernels, pool, &c, &of[i], workspace);
            }
            assert_memory_equal(want, got, (size_t)(m * many) * (way & 2 ? 2 : 4));
            assert_int_equal(nc_gemm_is_stored(&b), m <= kernels->gemm->few_rows);
        }
    assert_memory_equal(room, packed.data, bytes);
    nc_pages_drop(room, bytes);
    assert_int_equal(nc_gemm_b_store(&b, &shared, n, k, w, room, NULL), 0);
    for (int use = 0; use <= NC_GEMM_USES; use++) {          /* often enough used, it is packed as well */
        nc_gemm_call c = { .m = 1, .a = a, .a_dtype = NC_BF16, .lda = k, .c = use ? got : want, .c_dtype = NC_F32, .ldc = n };
        nc_gemm(kernels, pool, &c, &b, workspace);
        assert_memory_equal(want, use ? got : want, (size_t)n * 4);
        assert_int_equal(nc_gemm_is_stored(&b), use < NC_GEMM_USES);
    }
    nc_gemm_b_free(&packed);
    nc_pages_free(room, bytes);
    free(a), free(bias), free(want), free(got), free(workspace);
}

/* Bytes as a file's mapping: what is dropped of it comes back. */
static void *mapped(const void *p, size_t bytes)
{
    FILE *f = tmpfile();
    assert_true(f && fwrite(p, 1, bytes, f) == bytes && fflush(f) == 0);
    void *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fileno(f), 0);
    assert_true(map != MAP_FAILED && nc_pages_bring(map, bytes));
    fclose(f);
    return map;
}

enum { ASKED_N = 512, ASKED_K = 2048, ASKED_ROWS = 17, ASKERS = 24 };
struct asking { const nc_kernels *kernels; const nc_gemm_b *b; const uint16_t *a; float *c; char *workspace; size_t workspace_bytes; };

/* Every third asks for many rows. */
static void ask(void *context, int64_t part, int64_t parts, int worker)
{
    const struct asking *s = context;
    (void)parts, (void)worker;
    nc_gemm_call c = { .m = part % 3 == 2 ? ASKED_ROWS : 1, .a = s->a, .a_dtype = NC_BF16, .lda = ASKED_K, .c = s->c + part * ASKED_ROWS * ASKED_N, .c_dtype = NC_F32, .ldc = ASKED_N };
    nc_gemm(s->kernels, NULL, &c, s->b, s->workspace + (size_t)part * s->workspace_bytes);
}

/* Several threads use one weight while it is packed: each has the bits it would have alone. */
static void stored_for_several(void **unused)
{
    const nc_kernels *kernels = nc_kernels_best();
    (void)unused;
    if (!nc_gemm_can_store(kernels, ASKED_N, ASKED_K))
        return;
    nc_pool *pool = nc_pool_new(4);
    uint16_t *w = fill(NC_BF16, ASKED_N * ASKED_K), *a = fill(NC_BF16, ASKED_ROWS * ASKED_K);
    struct asking s = { .kernels = kernels, .a = a, .workspace_bytes = (nc_gemm_workspace(kernels, NC_GEMM_BF16, ASKED_ROWS, ASKED_N, ASKED_K, NC_BF16, 1, false) + 63) / 64 * 64 };
    s.c = block(sizeof(float) * ASKERS * ASKED_ROWS * ASKED_N);
    s.workspace = block(ASKERS * s.workspace_bytes);
    float *want = block(sizeof(float) * ASKED_ROWS * ASKED_N);
    for (int round = 0; round < 5; round++) {
        nc_gemm_b b;
        nc_gemm_stored shared;
        size_t bytes = (size_t)ASKED_N * ASKED_K * 2;
        void *room = nc_pages_alloc(bytes), *map = mapped(w, bytes);
        assert_int_equal(nc_gemm_b_store(&b, &shared, ASKED_N, ASKED_K, map, room, NULL), 0);
        s.b = &b;
        nc_pool_run(pool, ASKERS, ask, &s);
        assert_false(nc_gemm_is_stored(&b));
        nc_gemm_call c = { .m = ASKED_ROWS, .a = a, .a_dtype = NC_BF16, .lda = ASKED_K, .c = want, .c_dtype = NC_F32, .ldc = ASKED_N };
        nc_gemm(kernels, NULL, &c, &b, s.workspace);
        for (int i = 0; i < ASKERS; i++)
            assert_memory_equal(s.c + i * ASKED_ROWS * ASKED_N, want, sizeof(float) * ASKED_N * (i % 3 == 2 ? ASKED_ROWS : 1));
        nc_pages_free(room, bytes);
        munmap(map, bytes);
    }
    free(w), free(a), free(want), free(s.c), free(s.workspace);
    nc_pool_free(pool);
}

static void stored_rows(void **unused)
{
    static const struct { int n, k; } sizes[] = { { 16, 32 }, { 48, 352 }, { 160, 96 }, { 512, 8256 } };
    (void)unused;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
        assert_false(nc_gemm_can_store(kernels, 24, 32) || nc_gemm_can_store(kernels, 16, 48));
        for (int i = 0; i < NC_COUNT(sizes) && nc_gemm_can_store(kernels, sizes[i].n, sizes[i].k); i++)
            for (int threads = 1; threads <= 3; threads++) {
                nc_pool *pool = nc_pool_new(threads);
                size_t bytes = (size_t)(sizes[i].n * sizes[i].k) * 2;
                uint16_t *w = fill(NC_BF16, sizes[i].n * sizes[i].k);
                void *map = mapped(w, bytes);
                stored_as_packed(kernels, pool, map, sizes[i].n, sizes[i].k);
                assert_memory_equal(map, w, bytes);
                munmap(map, bytes);
                free(w);
                nc_pool_free(pool);
            }
    }
}

/* Several weights by one A, as queries, keys and values are made: what the first product packed is taken again; another A with the same rows is not. */
static void packed_again(void **unused)
{
    enum { N = 135, K = 352 };
    static const int64_t rows[] = { 1, 40, 400 };
    (void)unused;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int threads = 1; threads <= 3; threads++)
            for (int i = 0; i < NC_COUNT(rows); i++) {
                const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
                const int64_t m = rows[i];
                nc_pool *pool = nc_pool_new(threads);
                void *a[2] = { fill(NC_BF16, m * K), fill(NC_BF16, m * K) }, *w = fill(NC_BF16, N * K);
                float *want = block((size_t)(m * N * 4)), *got = block((size_t)(m * N * 4));
                void *fresh = block(nc_gemm_workspace(kernels, NC_GEMM_BF16, m, N, K, NC_BF16, threads, false));
                void *kept = block(nc_gemm_workspace(kernels, NC_GEMM_BF16, m, N, K, NC_BF16, threads, false));
                for (int64_t n = N; n > 0; n -= 65)
                    for (int same = 0; same < 2; same++) {
                        nc_gemm_source source = { NC_BF16, (char *)w + (N - n) * K * 2, K, false };
                        nc_gemm_b b;
                        assert_int_equal(nc_gemm_b_new(&b, NC_GEMM_BF16, n, K, NULL), 0);
                        assert_int_equal(nc_gemm_pack(kernels, NULL, &b, &source, false, NULL), 0);
                        nc_gemm_call call = { .m = m, .a = a[n % 2], .a_dtype = NC_BF16, .lda = K, .c = want, .c_dtype = NC_F32, .ldc = n };
                        nc_gemm(kernels, pool, &call, &b, fresh);
                        call.c = got;
                        call.again = same;
                        nc_gemm(kernels, pool, &call, &b, kept);
                        assert_memory_equal(want, got, (size_t)(m * n * 4));
                        nc_gemm_b_free(&b);
                    }
                nc_pool_free(pool);
                free(a[0]), free(a[1]), free(w), free(want), free(got), free(fresh), free(kept);
            }
}

static void packs_there_and_back(void **unused)
{
    static const nc_dtype stored[] = { NC_F32, NC_BF16, NC_Q8_0, NC_Q4_0 };
    (void)unused;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int t = 0; t < NC_COUNT(stored); t++)
            for (int64_t n = 1; n < 70; n += 17) {
                int64_t k = t >= 2 ? 160 : 37 + n;
                size_t bytes = nc_dtype_bytes(stored[t], n * k);
                void *w = t >= 2 ? fill_blocks(stored[t], n * k) : fill(stored[t], n * k), *back = block(bytes);
                if (t == 0)
                    ((float *)w)[0] = INFINITY, ((float *)w)[n * k - 1] = 1e-41f;
                nc_gemm_source source = { stored[t], w, k, false };
                nc_gemm_b b;
                assert_int_equal(nc_gemm_b_new(&b, nc_gemm_kind_for(stored[t], false), n, k, NULL), 0);
                assert_int_equal(nc_gemm_pack(nc_kernels_for((nc_isa)isa), NULL, &b, &source, true, NULL), 0);
                assert_int_equal(nc_gemm_unpack(&b, 0, n, back, stored[t], NULL), 0);
                assert_memory_equal(w, back, bytes);
                nc_gemm_b_free(&b);
                free(w), free(back);
            }
}

static void refuses(void **unused)
{
    nc_error e = { 0 };
    nc_gemm_b b;
    size_t bytes;
    (void)unused;
    assert_int_equal(nc_gemm_b_bytes(NC_GEMM_Q8_0, 16, 33, &bytes, &e), NC_ESHAPE);
    assert_non_null(strstr(e.message, "multiple of 32"));
    assert_int_equal(nc_gemm_b_bytes(NC_GEMM_F32, INT64_MAX, 1 << 20, &bytes, &e), NC_ELIMIT);
    assert_int_equal(nc_gemm_b_new(&b, NC_GEMM_Q4_0, 16, 32, &e), 0);
    float x[16 * 32] = { 0 };
    nc_gemm_source source = { NC_F32, x, 32, false };
    assert_int_equal(nc_gemm_pack(nc_kernels_best(), NULL, &b, &source, false, &e), NC_EUNSUPPORTED);
    assert_int_equal(nc_gemm_unpack(&b, 10, 7, x, NC_F32, &e), NC_EINVAL);
    nc_gemm_b_free(&b);
}

/* Packed in stretches of a few panels: the panels of a whole packing; what is turned gives the backward product the bits of turning on the way. */
static void packed_and_turned(void **unused)
{
    static const struct { int n, k; } sizes[] = { { 1, 1 }, { 16, 16 }, { 31, 40 }, { 33, 17 }, { 150, 95 }, { 64, 128 } };
    enum { M = 21 };
    (void)unused;
    nc_pool *pool = nc_pool_new(2);
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int i = 0; i < NC_COUNT(sizes); i++) {
            const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
            const int64_t N = sizes[i].n, K = sizes[i].k;
            uint16_t *w = fill(NC_BF16, N * K), *a = fill(NC_BF16, M * N), *c[2];
            nc_gemm_source source = { NC_BF16, w, K, false };
            nc_gemm_b whole, both;
            assert_int_equal(nc_gemm_b_new(&whole, NC_GEMM_BF16, N, K, NULL), 0);
            assert_int_equal(nc_gemm_b_new(&both, NC_GEMM_BF16, N, K, NULL), 0);
            assert_int_equal(nc_gemm_pack(kernels, NULL, &whole, &source, false, NULL), 0);
            both.turned = block((size_t)nc_gemm_panels(K) * nc_gemm_panel_bytes(NC_GEMM_BF16, N));
            for (int64_t panel = 0; panel < nc_gemm_panels(N); panel += 2)
                nc_gemm_pack_both(kernels, &both, w + panel * NC_GEMM_PANEL * K, panel, panel + 2 < nc_gemm_panels(N) ? panel + 2 : nc_gemm_panels(N));
            assert_memory_equal(both.data, whole.data, whole.bytes);
            void *workspace = block(nc_gemm_backward_workspace(kernels, NC_GEMM_BF16, M, N, K, NC_BF16, 2));
            for (int way = 0; way < 2; way++) {
                c[way] = block((size_t)(M * K) * 2);
                nc_gemm_call call = { .m = M, .a = a, .a_dtype = NC_BF16, .lda = N, .c = c[way], .c_dtype = NC_BF16, .ldc = K };
                nc_gemm_backward(kernels, pool, &call, way ? &both : &whole, workspace);
            }
            assert_memory_equal(c[0], c[1], (size_t)(M * K) * 2);
            free(both.turned);
            nc_gemm_b_free(&whole);
            nc_gemm_b_free(&both);
            free(w), free(a), free(c[0]), free(c[1]), free(workspace);
        }
    nc_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_definition), cmocka_unit_test(same_bits), cmocka_unit_test(same_bits_at_every_level), cmocka_unit_test(same_bits_of_ranges), cmocka_unit_test(backward_of_packed),
        cmocka_unit_test(packed_and_turned), cmocka_unit_test(stored_rows), cmocka_unit_test(stored_for_several), cmocka_unit_test(packed_again),
        cmocka_unit_test(packs_there_and_back), cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
