/* test_attention.c - attention kernels of every level of this CPU: against a plain double computation, gradients against the definition's (which the op's test checks by
 * differences), and to the bit: threads, chunks, token by token from pages, alone or in a batch, spans that share keys. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/rng.h"
#include "kernels/dirty_stack.h"
#include "kernels/attention.h"

typedef struct data { nc_attention_args a; nc_attention_span span[8]; void *q, *k, *v, *out, *dout, *dq, *dk, *dv; float *lse; } data;

static size_t size_of(const data *d) { return d->a.shape.dtype == NC_BF16 ? 2 : 4; }

static void *random_numbers(nc_dtype t, int64_t n, uint64_t seed)
{
    nc_rng r = nc_rng_new(seed, 7);
    void *p = nc_xmalloc((size_t)n * 4 + 64);

    for (int64_t i = 0; i < n; i++)
        nc_dtype_store(t, p, i, nc_rng_normal(&r));
    return p;
}

static data *make(nc_dtype t, int64_t N, int64_t M, int H, int G, int A, int V)
{
    data *d = nc_xcalloc(1, sizeof *d);

    d->a = (nc_attention_args){ .shape = { t, H, G, A, V, N, M, false }, .q_stride = { (int64_t)H * A, A }, .k_stride = { (int64_t)G * A, A },
                                .v_stride = { (int64_t)G * V, V }, .scale = 1 / sqrt((double)A), .span = d->span, .spans = 1 };
    d->span[0] = (nc_attention_span){ .q_rows = N, .k_rows = M };
    d->a.q = d->q = random_numbers(t, N * H * A, 1);
    d->a.k = d->k = random_numbers(t, M * G * A, 2);
    d->a.v = d->v = random_numbers(t, M * G * V, 3);
    d->a.dout = d->dout = random_numbers(t, N * H * V, 4);
    d->a.out = d->out = random_numbers(t, N * H * V, 5);
    d->a.lse = d->lse = random_numbers(NC_F32, N * H, 6);
    d->a.dq = d->dq = random_numbers(t, N * H * A, 7);
    d->a.dk = d->dk = random_numbers(t, M * G * A, 8);
    d->a.dv = d->dv = random_numbers(t, M * G * V, 9);
    return d;
}

static void discard(data *d)
{
    void *all[] = { d->q, d->k, d->v, d->out, d->dout, d->dq, d->dk, d->dv, d->lse };

    for (int i = 0; i < NC_COUNT(all); i++)
        free(all[i]);
    free(d);
}

static nc_pool *pool_of(int threads)
{
    static nc_pool *pools[4];

    if (threads > 1 && !pools[threads])
        pools[threads] = nc_pool_new(threads);
    return threads > 1 ? pools[threads] : NULL;
}

/* The workspace ends where it says: bytes behind it keep their pattern. */
static void guarded(size_t bytes, void (*fn)(const nc_attention_args *, nc_pool *, void *), const nc_attention_args *a, int threads)
{
    size_t room = (bytes + 63) / 64 * 64 + 4096;
    uint8_t *w = aligned_alloc(64, room);

    memset(w, 0xff, room);
    dirty_stacks(pool_of(threads));
    fn(a, pool_of(threads), w);
    for (size_t i = bytes; i < room; i++)
        assert_int_equal(w[i], 0xff);
    free(w);
}

static void forward(data *d, nc_isa isa, int threads)
{
    const struct nc_attention_kernels *k = nc_kernels_for(isa)->attention;
    nc_error e = { 0 };
    int slot = nc_dtype_slot(d->a.shape.dtype);

    if (nc_attention_check(&d->a, &e) < 0)
        fail_msg("%s", e.message);
    guarded(k->forward_bytes[slot](&d->a.shape, threads), k->forward[slot], &d->a, threads);
}

static void backward(data *d, nc_isa isa, int threads)
{
    const struct nc_attention_kernels *k = nc_kernels_for(isa)->attention;
    int slot = nc_dtype_slot(d->a.shape.dtype);

    guarded(k->backward_bytes[slot](&d->a.shape, threads), k->backward[slot], &d->a, threads);
}

/* Row (i, h) of span s the plain way: scores of all keys, the rule spelled out key by key. */
static double naive(const data *d, const nc_attention_span *s, int64_t i, int h, double *out)
{
    const nc_attention_shape *x = &d->a.shape;
    int g = h / (x->heads / x->kv_heads);
    double most = -INFINITY, total = 0, *score = nc_xmalloc(sizeof(double) * (size_t)(s->k_rows + 1));
    int64_t at = s->q_index + i, w = d->a.window;

    for (int64_t j = 0; j < s->k_rows; j++) {
        bool in_window = w == 0 || j > at - w, sees = j <= at && in_window;
        if (s->sight == NC_ATTENTION_FULL)
            sees = w == 0 || llabs(at - j) < w;
        if (s->sight == NC_ATTENTION_PREFIX && at < s->prefix)
            sees = j < s->prefix && (in_window || j >= s->q_index);
        score[j] = -INFINITY;
        if (!sees)
            continue;
        score[j] = 0;
        for (int c = 0; c < x->head; c++)
            score[j] += nc_dtype_load(x->dtype, d->q, ((s->q_row + i) * x->heads + h) * x->head + c) * nc_dtype_load(x->dtype, d->k, ((s->k_row + j) * x->kv_heads + g) * x->head + c);
        score[j] *= d->a.scale;
        score[j] = d->a.soft_cap > 0 ? d->a.soft_cap * tanh(score[j] / d->a.soft_cap) : score[j];
        most = fmax(most, score[j]);
    }
    memset(out, 0, sizeof(double) * (size_t)x->value_head);
    for (int64_t j = 0; j < s->k_rows; j++) {
        double p = score[j] > -INFINITY ? exp(score[j] - most) : 0;
        total += p;
        for (int c = 0; c < x->value_head; c++)
            out[c] += p * nc_dtype_load(x->dtype, d->v, ((s->k_row + j) * x->kv_heads + g) * x->value_head + c);
    }
    for (int c = 0; c < x->value_head; c++)
        out[c] = total > 0 ? out[c] / total : 0;
    free(score);
    return most + log(total);
}

static void compare_forward(const data *d, const char *what)
{
    const nc_attention_shape *x = &d->a.shape;
    double *want = nc_xmalloc(sizeof(double) * (size_t)x->value_head), tol = x->dtype == NC_BF16 ? 1.2e-2 : 2e-6;

    for (int n = 0; n < d->a.spans; n++)
        for (int64_t i = 0; i < d->span[n].q_rows; i++)
            for (int h = 0; h < x->heads; h++) {
                int64_t at = (d->span[n].q_row + i) * x->heads + h;
                double lse = naive(d, &d->span[n], i, h, want), got = d->lse[at];
                if (!(isinf(lse) ? got == lse : fabs(lse - got) <= 4e-6 * (1 + fabs(lse))))
                    fail_msg("%s: lse of row %lld head %d is %.9g, should be %.9g", what, (long long)i, h, got, lse);
                for (int c = 0; c < x->value_head; c++) {
                    double y = nc_dtype_load(x->dtype, d->out, at * x->value_head + c);
                    if (!(fabs(y - want[c]) <= tol * (1 + fabs(want[c]))))
                        fail_msg("%s: row %lld head %d column %d is %.9g, should be %.9g", what, (long long)i, h, c, y, want[c]);
                }
            }
    free(want);
}

static void compare_arrays(nc_dtype t, const void *got, const void *want, int64_t n, double tol, const char *what)
{
    double largest = 0;

    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(nc_dtype_load(t, want, i)));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(nc_dtype_load(t, got, i) - nc_dtype_load(t, want, i)) <= tol * (largest + 0.1)))
            fail_msg("%s: element %lld is %.9g, should be %.9g (largest %.3g)", what, (long long)i, nc_dtype_load(t, got, i), nc_dtype_load(t, want, i), largest);
}

/* Forward against naive, gradients against the definition, bits of 1, 2, 3 threads; on every level, in both types. */
typedef struct problem { const char *name; int64_t N, M; int H, G, A, V, spans; nc_attention_span span[4]; int64_t window; double soft_cap; } problem;

static data *pose(const problem *p, nc_dtype t)
{
    data *d = make(t, p->N, p->M, p->H, p->G, p->A, p->V);

    d->a.window = p->window;
    d->a.soft_cap = p->soft_cap;
    if (p->spans) {
        memcpy(d->span, p->span, sizeof p->span);
        d->a.spans = p->spans;
    }
    return d;
}

static void check_gradient(const problem *p, data *d, nc_isa isa, const char *what)
{
    const nc_attention_shape *x = &d->a.shape;
    nc_dtype t = x->dtype;
    double tol = t == NC_BF16 ? 2e-2 : 2e-5;
    data *r = pose(p, t);
    int64_t nq = x->rows * x->heads * x->head, nk = x->keys * x->kv_heads * x->head, nv = x->keys * x->kv_heads * x->value_head;

    memcpy(r->out, d->out, size_of(d) * (size_t)(x->rows * x->heads * x->value_head));
    memcpy(r->lse, d->lse, 4 * (size_t)(x->rows * x->heads));
    backward(d, isa, 1);
    backward(r, NC_ISA_SCALAR, 1);
    compare_arrays(t, d->dv, r->dv, nv, tol, what);
    compare_arrays(t, d->dk, r->dk, nk, tol, what);
    compare_arrays(t, d->dq, r->dq, nq, tol, what);
    for (int threads = 2; threads <= 3; threads++) {
        memcpy(r->out, d->out, size_of(d) * (size_t)(x->rows * x->heads * x->value_head));
        backward(r, isa, threads);
        assert_memory_equal(d->dq, r->dq, (size_t)nq * size_of(d));
        assert_memory_equal(d->dk, r->dk, (size_t)nk * size_of(d));
        assert_memory_equal(d->dv, r->dv, (size_t)nv * size_of(d));
    }
    discard(r);
}

static void check(const problem *p)
{
    for (int t = 0; t < 2; t++)
        for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
            data *d = pose(p, t ? NC_BF16 : NC_F32);
            const nc_attention_shape *x = &d->a.shape;
            size_t bytes = size_of(d) * (size_t)(x->rows * x->heads * x->value_head);
            char what[200];
            snprintf(what, sizeof what, "%s N %lld M %lld heads %d/%d of %d/%d, %s on %s", p->name, (long long)p->N, (long long)p->M, p->H, p->G, p->A, p->V, t ? "bf16" : "f32",
                     nc_isa_name((nc_isa)isa));
            forward(d, (nc_isa)isa, 1);
            compare_forward(d, what);
            for (int threads = 2; threads <= 3; threads++) {
                data *other = pose(p, x->dtype);
                forward(other, (nc_isa)isa, threads);
                assert_memory_equal(d->out, other->out, bytes);
                assert_memory_equal(d->lse, other->lse, 4 * (size_t)(x->rows * x->heads));
                discard(other);
            }
            check_gradient(p, d, (nc_isa)isa, what);
            discard(d);
        }
}

static void test_sizes(void **state)
{
    static const int lengths[] = { 1, 2, 63, 64, 65, 130, 257 }, heads[] = { 8, 16, 64, 72, 80, 128 };

    (void)state;
    for (int i = 0; i < NC_COUNT(lengths); i++)
        for (int h = 0; h < NC_COUNT(heads); h++)
            if (lengths[i] < 130 || (i + h) % 3 == 0)
                check(&(problem){ .name = "causal", .N = lengths[i], .M = lengths[i], .H = 2, .G = 1 + h % 2, .A = heads[h], .V = heads[(h + i) % 6] });
    check(&(problem){ .name = "odd heads", .N = 70, .M = 70, .H = 3, .G = 1, .A = 7, .V = 5 });
    check(&(problem){ .name = "one number", .N = 5, .M = 5, .H = 1, .G = 1, .A = 1, .V = 1 });
    check(&(problem){ .name = "many heads on one", .N = 9, .M = 9, .H = 71, .G = 1, .A = 16, .V = 16 });
    check(&(problem){ .name = "seven heads on one", .N = 40, .M = 40, .H = 14, .G = 2, .A = 32, .V = 32 });
    check(&(problem){ .name = "wide head", .N = 20, .M = 20, .H = 1, .G = 1, .A = 512, .V = 512 });
}

static void test_sight(void **state)
{
    (void)state;
    check(&(problem){ .name = "full", .N = 145, .M = 145, .H = 2, .G = 2, .A = 64, .V = 64, .spans = 1, .span = { { .q_rows = 145, .k_rows = 145, .sight = NC_ATTENTION_FULL } } });
    check(&(problem){ .name = "full, window", .N = 200, .M = 200, .H = 2, .G = 1, .A = 16, .V = 16, .spans = 1, .window = 70,
                      .span = { { .q_rows = 200, .k_rows = 200, .sight = NC_ATTENTION_FULL } } });
    check(&(problem){ .name = "cross", .N = 70, .M = 150, .H = 2, .G = 1, .A = 32, .V = 48, .spans = 2,
                      .span = { { .q_rows = 7, .k_rows = 133, .sight = NC_ATTENTION_FULL }, { .q_row = 7, .q_rows = 63, .k_row = 133, .k_rows = 17, .sight = NC_ATTENTION_FULL } } });
    check(&(problem){ .name = "window", .N = 260, .M = 260, .H = 4, .G = 2, .A = 16, .V = 16, .window = 33, .soft_cap = 5 });
    check(&(problem){ .name = "window of one", .N = 70, .M = 70, .H = 2, .G = 2, .A = 16, .V = 16, .window = 1 });
    check(&(problem){ .name = "prefix", .N = 200, .M = 200, .H = 2, .G = 1, .A = 24, .V = 24, .spans = 1,
                      .span = { { .q_rows = 200, .k_rows = 200, .prefix = 90, .sight = NC_ATTENTION_PREFIX } } });
    check(&(problem){ .name = "picture inside a text, window", .N = 160, .M = 160, .H = 2, .G = 1, .A = 24, .V = 24, .spans = 3, .window = 20,
                      .span = { { .q_rows = 30, .k_rows = 30 }, { .q_row = 30, .q_rows = 80, .q_index = 30, .k_rows = 110, .prefix = 110, .sight = NC_ATTENTION_PREFIX },
                                { .q_row = 110, .q_rows = 50, .q_index = 110, .k_rows = 160 } } });
    check(&(problem){ .name = "keys fewer than queries", .N = 100, .M = 40, .H = 2, .G = 2, .A = 16, .V = 16, .window = 9, .soft_cap = 2 });
    check(&(problem){ .name = "no keys, rows of no span", .N = 30, .M = 20, .H = 2, .G = 2, .A = 16, .V = 16, .spans = 2,
                      .span = { { .q_row = 3, .q_rows = 5 }, { .q_row = 12, .q_rows = 9, .k_row = 4, .k_rows = 9 } } });
    check(&(problem){ .name = "crossing keys", .N = 30, .M = 30, .H = 2, .G = 1, .A = 16, .V = 16, .spans = 3,
                      .span = { { .q_rows = 10, .k_row = 5, .k_rows = 10 }, { .q_row = 10, .q_rows = 10, .k_row = 15, .k_rows = 10 }, { .q_row = 20, .q_rows = 10, .k_row = 9, .k_rows = 12 } } });
}

/* Scores that climb along the keys, block by block and within one, fall again, and start far below zero: the running maximum moves, by much and by little. */
static void test_climbing(void **state)
{
    static const float steps[] = { 0.2f, -0.2f, 2, -2, 9, -9 };

    (void)state;
    for (int n = 0; n < NC_COUNT(steps); n++)
        for (int t = 0; t < 2; t++)
            for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
                data *d = make(t ? NC_BF16 : NC_F32, 200, 200, 2, 1, 32, n / 2 % 2 ? 32 : 80);
                char what[100];
                for (int64_t i = 0; i < 200; i++)        /* the first number of q is 1, that of key j its height: blocks of 24 keys climb by as much as a step */
                    for (int h = 0; h < 2; h++)
                        nc_dtype_store(d->a.shape.dtype, d->q, (i * 2 + h) * 32, sqrt(32));
                for (int64_t j = 0; j < 200; j++)
                    nc_dtype_store(d->a.shape.dtype, d->k, j * 32, (t ? 1 : 0.1f) * (steps[n] * (float)(j / 24) - (n % 2 ? 0 : 40)));   /* f32: within what scores of this size allow */
                snprintf(what, sizeof what, "climbing by %g, %s on %s", (double)steps[n], t ? "bf16" : "f32", nc_isa_name((nc_isa)isa));
                forward(d, (nc_isa)isa, 1);
                compare_forward(d, what);
                discard(d);
            }
}

/* ---- to the bit ---- */
typedef struct paged { nc_attention_shape shape; int blocks; char *keys, *values; nc_attention_pages pages; } paged;
static void *keys_at(void *context, int slot, int64_t block) { paged *p = context; return p->keys + (size_t)(slot * p->blocks + block) * nc_attention_key_page_bytes(&p->shape); }
static void *values_at(void *context, int slot, int64_t block) { paged *p = context; return p->values + (size_t)(slot * p->blocks + block) * nc_attention_value_page_bytes(&p->shape); }

static paged *pages_new(const nc_attention_shape *s, int slots, int blocks)
{
    paged *p = nc_xcalloc(1, sizeof *p);

    *p = (paged){ *s, blocks, nc_xcalloc((size_t)(slots * blocks), nc_attention_key_page_bytes(s)), nc_xcalloc((size_t)(slots * blocks), nc_attention_value_page_bytes(s)), { p, keys_at, values_at } };
    return p;
}

static void pages_free(paged *p)
{
    free(p->keys);
    free(p->values);
    free(p);
}

/* Runs rows [from, to) of the whole sequence `d` as one chunk with the pages, beside `others` rows of another slot, and compares their bits. */
static void chunk(const data *d, paged *pages, int64_t from, int64_t to, int64_t others, nc_isa isa, int threads)
{
    const nc_attention_shape *x = &d->a.shape;
    int64_t n = to - from, all = n + others;
    data *c = make(x->dtype, all, all, x->heads, x->kv_heads, x->head, x->value_head);
    size_t q = (size_t)(x->heads * x->head) * size_of(d), k = (size_t)(x->kv_heads * x->head) * size_of(d), v = (size_t)(x->kv_heads * x->value_head) * size_of(d);
    size_t o = (size_t)(x->heads * x->value_head) * size_of(d), l = (size_t)x->heads * 4;

    memcpy((char *)c->q + (size_t)others * q, (char *)d->q + (size_t)from * q, (size_t)n * q);
    memcpy((char *)c->k + (size_t)others * k, (char *)d->k + (size_t)from * k, (size_t)n * k);
    memcpy((char *)c->v + (size_t)others * v, (char *)d->v + (size_t)from * v, (size_t)n * v);
    c->a.shape.paged = true;
    c->a.pages = &pages->pages;
    c->a.window = d->a.window;
    c->a.spans = others ? 2 : 1;
    if (others)
        c->span[0] = (nc_attention_span){ .q_rows = others, .k_rows = others, .slot = 1 };
    c->span[c->a.spans - 1] = (nc_attention_span){ .q_row = others, .q_rows = n, .q_index = from, .k_row = others, .k_rows = n };
    forward(c, isa, threads);
    for (int64_t i = 0; i < n; i++) {
        if (memcmp((char *)c->out + (size_t)(others + i) * o, (char *)d->out + (size_t)(from + i) * o, o) || memcmp(c->lse + (others + i) * x->heads, d->lse + (from + i) * x->heads, l))
            fail_msg("row %lld of chunk %lld..%lld beside %lld differs from the whole (%s on %s, %d threads)", (long long)(from + i), (long long)from, (long long)to, (long long)others,
                     nc_dtype_name(x->dtype), nc_isa_name(isa), threads);
    }
    discard(c);
}

static void same_bits(nc_dtype t, int64_t T, int H, int G, int A, int V, int64_t window, nc_isa isa)
{
    static const int64_t cuts[] = { 1, 3, 64, 100, 37, 200, 1000, 5 };
    data *d = make(t, T, T, H, G, A, V);
    nc_attention_shape s = d->a.shape;

    s.paged = true;
    d->a.window = window;
    forward(d, isa, 1);
    paged *by_chunk = pages_new(&s, 2, (int)(T / 64 + 4)), *by_token = pages_new(&s, 2, (int)(T / 64 + 4));
    for (int64_t at = 0, i = 0; at < T; i++) {
        int64_t to = at + cuts[i % 8] < T ? at + cuts[i % 8] : T;
        chunk(d, by_chunk, at, to, i % 3 * 9, isa, 1 + (int)(i % 3));
        at = to;
    }
    int64_t stride = T > 300 ? 97 : 1;                       /* long ones: a token now and then, the rest in chunks */
    for (int64_t at = 0; at < T; at++) {
        chunk(d, by_token, at, at + 1, at % 2, isa, at % 3 ? 1 : 3);
        int64_t to = at + stride < T ? at + stride : T;
        if (to > at + 1)
            chunk(d, by_token, at + 1, to, 0, isa, 2);
        at = to - 1;
    }
    pages_free(by_chunk);
    pages_free(by_token);
    discard(d);
}

static void test_chunks(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++)
        for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
            nc_dtype type = t ? NC_BF16 : NC_F32;
            same_bits(type, 150, 4, 2, 16, 24, 0, (nc_isa)isa);
            same_bits(type, 200, 3, 1, 7, 5, 50, (nc_isa)isa);
            if (isa) {
                same_bits(type, 2300, 2, 1, 16, 16, 0, (nc_isa)isa);
                same_bits(type, 1300, 4, 2, 72, 40, 700, (nc_isa)isa);
                same_bits(type, 330, 2, 1, 32, 104, 0, (nc_isa)isa);
            }
        }
}

/* A sequence alone, in a batch of many spans (several waves of pages), and with other rows in its stream. */
static void test_batch(void **state)
{
    enum { COUNT = 40, LENGTH = 33 };

    (void)state;
    for (int t = 0; t < 2; t++)
        for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
            data *d = make(t ? NC_BF16 : NC_F32, COUNT * LENGTH, COUNT * LENGTH, 4, 2, 16, 16);
            nc_attention_span *span = nc_xcalloc(COUNT, sizeof *span);
            for (int i = 0; i < COUNT; i++)
                span[i] = (nc_attention_span){ .q_row = i * LENGTH, .q_rows = LENGTH, .k_row = i * LENGTH, .k_rows = LENGTH };
            d->a.span = span;
            d->a.spans = COUNT;
            forward(d, (nc_isa)isa, 2);
            backward(d, (nc_isa)isa, 2);
            for (int i = 0; i < COUNT; i += 13) {
                data *one = make(d->a.shape.dtype, LENGTH, LENGTH, 4, 2, 16, 16);
                size_t q = size_of(d) * 64 * LENGTH, k = q / 2;
                memcpy(one->q, (char *)d->q + q * (size_t)i, q);
                memcpy(one->k, (char *)d->k + k * (size_t)i, k);
                memcpy(one->v, (char *)d->v + k * (size_t)i, k);
                memcpy(one->dout, (char *)d->dout + q * (size_t)i, q);
                forward(one, (nc_isa)isa, 1);
                backward(one, (nc_isa)isa, 1);
                assert_memory_equal(one->out, (char *)d->out + q * (size_t)i, q);
                assert_memory_equal(one->dq, (char *)d->dq + q * (size_t)i, q);
                assert_memory_equal(one->dk, (char *)d->dk + k * (size_t)i, k);
                assert_memory_equal(one->dv, (char *)d->dv + k * (size_t)i, k);
                discard(one);
            }
            free(span);
            discard(d);
        }
}

/* Gradients whose rows lie apart, in whole lines (which a level may write past the cache): the same bits, and nothing between them is touched. Keys 7 and 8 and rows 3 and 4 belong to no span. */
static void test_rows_apart(void **state)
{
    enum { N = 90, H = 4, G = 2, A = 32, V = 64, APART = 352 };

    (void)state;
    for (int t = 0; t < 2; t++)
        for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
            data *d = make(t ? NC_BF16 : NC_F32, N, N, H, G, A, V), *apart = make(t ? NC_BF16 : NC_F32, N, N, H, G, A, V);
            const size_t size = size_of(d), width[3] = { H * A, G * A, G * V };
            d->span[0] = (nc_attention_span){ .q_rows = 3, .k_rows = 7 };
            d->span[1] = (nc_attention_span){ .q_row = 5, .q_rows = N - 5, .k_row = 9, .k_rows = N - 9, .q_index = 2 };
            d->a.spans = 2;
            memcpy(apart->span, d->span, sizeof d->span);
            apart->a.spans = 2;
            char *whole = aligned_alloc(64, N * APART * 4), *rows[3] = { whole, whole + H * A * size, whole + (H + G) * A * size };
            memset(whole, 0x5a, N * APART * 4);
            apart->a.dq = rows[0], apart->a.dk = rows[1], apart->a.dv = rows[2];
            apart->a.dq_row = apart->a.dk_row = apart->a.dv_row = APART;
            forward(d, (nc_isa)isa, 2);
            forward(apart, (nc_isa)isa, 2);
            backward(d, (nc_isa)isa, 2);
            backward(apart, (nc_isa)isa, 2);
            char *want[3] = { d->dq, d->dk, d->dv };
            const size_t used = (width[0] + width[1] + width[2]) * size;
            for (size_t r = 0; r < N; r++) {
                for (int i = 0; i < 3; i++)
                    assert_memory_equal(rows[i] + r * APART * size, want[i] + r * width[i] * size, width[i] * size);
                for (size_t b = used; b < APART * size; b++)
                    assert_int_equal((uint8_t)whole[r * APART * size + b], 0x5a);
            }
            free(whole);
            discard(d), discard(apart);
        }
}

static void test_check(void **state)
{
    data *d = make(NC_F32, 10, 10, 1, 1, 4, 4);
    nc_error e = { 0 };

    (void)state;
    d->span[0].q_rows = 11;
    assert_int_equal(nc_attention_check(&d->a, &e), NC_ESHAPE);
    assert_non_null(strstr(e.message, "span 0"));
    d->span[0].q_rows = INT64_MAX;
    assert_int_equal(nc_attention_check(&d->a, &e), NC_ESHAPE);
    d->span[0] = (nc_attention_span){ .q_rows = 5, .k_rows = 5 };
    d->span[1] = (nc_attention_span){ .q_row = 4, .q_rows = 5, .k_rows = 5 };
    d->a.spans = 2;
    assert_int_equal(nc_attention_check(&d->a, &e), NC_EINVAL);
    d->span[1] = (nc_attention_span){ .q_row = 5, .q_rows = 3, .k_rows = 5, .prefix = 4, .sight = NC_ATTENTION_PREFIX };
    assert_int_equal(nc_attention_check(&d->a, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "prefix"));
    discard(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sizes), cmocka_unit_test(test_sight), cmocka_unit_test(test_climbing), cmocka_unit_test(test_chunks), cmocka_unit_test(test_batch),
                                        cmocka_unit_test(test_rows_apart), cmocka_unit_test(test_check) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
