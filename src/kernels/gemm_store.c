/* gemm_store.c - packed weights: sizes, packing from what files hold, and back.
 *
 * Layouts are those of kernels/gemm.h. Repacking ggml's blocks moves whole bytes and nibbles, so that unpacking gives the same blocks back.
 * Source of the blocks: ggml's quantization format (block_q8_0: f16 d, int8 qs[32]; block_q4_0: f16 d, qs[16] with value j in the low
 * nibble of byte j and value j+16 in its high nibble; the value is d * q and d * (nibble - 8)).
 */
#include "base/arena.h"
#include "kernels/gemm.h"
#include "kernels/ref/gemm.h"

enum { Q8_BLOCK = 34, Q4_BLOCK = 18 };

static bool quantized(nc_gemm_kind kind) { return kind == NC_GEMM_Q8_0 || kind == NC_GEMM_Q4_0; }

size_t nc_gemm_panel_bytes(nc_gemm_kind kind, int64_t k)
{
    switch (kind) {
    case NC_GEMM_F32:  return (size_t)k * 64;
    case NC_GEMM_BF16: return (size_t)((k + 1) / 2) * 64;
    case NC_GEMM_Q8_0: return nc_gemm_scale_bytes(k) + (size_t)k * 16;
    default:           return nc_gemm_scale_bytes(k) + (size_t)k * 8;
    }
}

nc_gemm_kind nc_gemm_kind_for(nc_dtype source, bool bf16_run)
{
    if (source == NC_Q8_0)
        return NC_GEMM_Q8_0;
    if (source == NC_Q4_0)
        return NC_GEMM_Q4_0;
    return source == NC_BF16 || bf16_run ? NC_GEMM_BF16 : NC_GEMM_F32;
}

int nc_gemm_b_bytes(nc_gemm_kind kind, int64_t n, int64_t k, size_t *bytes, nc_error *e)
{
    if (n < 0 || k < 0 || (unsigned)kind >= NC_GEMM_KINDS)
        return nc_fail(e, NC_EINVAL, "a packed weight of %lld x %lld cannot be", (long long)n, (long long)k);
    if (quantized(kind) && k % NC_GEMM_QK)
        return nc_fail(e, NC_ESHAPE, "quantized weights need rows of a multiple of %d values, got %lld", NC_GEMM_QK, (long long)k);
    if (k > INT64_MAX / 256 || n > INT64_MAX - 16 || !nc_mul_size((size_t)nc_gemm_panels(n), nc_gemm_panel_bytes(kind, k), bytes) || *bytes > INT64_MAX)
        return nc_fail(e, NC_ELIMIT, "a packed weight of %lld x %lld is larger than memory can be", (long long)n, (long long)k);
    return 0;
}

int nc_gemm_b_borrow(nc_gemm_b *b, nc_gemm_kind kind, int64_t n, int64_t k, void *data, nc_error *e)
{
    size_t bytes;
    NC_TRY(nc_gemm_b_bytes(kind, n, k, &bytes, e));
    *b = (nc_gemm_b){ .kind = kind, .n = n, .k = k, .data = data, .bytes = bytes };
    return 0;
}

int nc_gemm_b_new(nc_gemm_b *b, nc_gemm_kind kind, int64_t n, int64_t k, nc_error *e)
{
    NC_TRY(nc_gemm_b_borrow(b, kind, n, k, NULL, e));
    b->data = nc_pages_alloc(b->bytes ? b->bytes : 64);
    if (!b->data)
        return nc_fail(e, NC_ENOMEM, "no memory for a packed weight of %lld x %lld (%zu bytes)", (long long)n, (long long)k, b->bytes);
    b->owned = true;
    return 0;
}

void nc_gemm_b_free(nc_gemm_b *b)
{
    if (b && b->owned)
        nc_pages_free(b->data, b->bytes ? b->bytes : 64);
    if (b)
        *b = (nc_gemm_b){ 0 };
}

static uint8_t *panel_of(const nc_gemm_b *b, int64_t panel) { return (uint8_t *)b->data + (size_t)panel * nc_gemm_panel_bytes(b->kind, b->k); }

/* ---- ggml's blocks to panels and back ---- */

static void q8_block_in(uint8_t *q, const uint8_t *block, int column)
{
    for (int p = 0; p < 8; p++)
        memcpy(q + (p * 16 + column) * 4, block + 2 + 4 * p, 4);
}

static void q8_block_out(uint8_t *block, const uint8_t *q, int column)
{
    for (int p = 0; p < 8; p++)
        memcpy(block + 2 + 4 * p, q + (p * 16 + column) * 4, 4);
}

/* Where the nibble of (k in 0..31, column) lies: which of the block's bytes, and how far to shift. */
static int nibble_byte(int k, int column) { return (k / 8 * 16 + column) * 4 + k % 4; }
static int nibble_shift(int k) { return k % 8 & 4; }

static void q4_block_in(uint8_t *q, const uint8_t *block, int column)
{
    for (int k = 0; k < 32; k++) {
        uint8_t nibble = k < 16 ? block[2 + k] & 15 : block[2 + k - 16] >> 4, *to = q + nibble_byte(k, column);
        int shift = nibble_shift(k);
        *to = (uint8_t)((*to & ~(15 << shift)) | nibble << shift);
    }
}

static void q4_block_out(uint8_t *block, const uint8_t *q, int column)
{
    memset(block + 2, 0, 16);
    for (int k = 0; k < 32; k++) {
        int nibble = q[nibble_byte(k, column)] >> nibble_shift(k) & 15;
        block[2 + k % 16] |= (uint8_t)(k < 16 ? nibble : nibble << 4);
    }
}

static void pack_blocks(nc_gemm_b *b, const nc_gemm_source *s, int64_t panel)
{
    bool four = b->kind == NC_GEMM_Q4_0;
    size_t block = four ? Q4_BLOCK : Q8_BLOCK, row_bytes = (size_t)(s->stride / NC_GEMM_QK) * block, step = four ? 256 : 512;
    uint8_t *out = panel_of(b, panel), *q = out + nc_gemm_scale_bytes(b->k);
    memset(out, 0, nc_gemm_panel_bytes(b->kind, b->k));
    for (int64_t i = 0; i < b->k / NC_GEMM_QK; i++)
        for (int j = 0; j < NC_GEMM_PANEL && panel * NC_GEMM_PANEL + j < b->n; j++) {
            const uint8_t *from = (const uint8_t *)s->data + (size_t)(panel * NC_GEMM_PANEL + j) * row_bytes + (size_t)i * block;
            memcpy(out + (i * 16 + j) * 2, from, 2);
            if (four)
                q4_block_in(q + (size_t)i * step, from, j);
            else
                q8_block_in(q + (size_t)i * step, from, j);
        }
}

/* Quantized source, float panels: the blocks are packed first, 16 rows at a time, then widened. */
static int widen_blocks(const nc_kernels *kernels, nc_gemm_b *b, const nc_gemm_source *s, int64_t panel, nc_error *e)
{
    nc_gemm_b one;
    NC_TRY(nc_gemm_b_new(&one, s->dtype == NC_Q8_0 ? NC_GEMM_Q8_0 : NC_GEMM_Q4_0, 16, b->k, e));
    int64_t row = panel * NC_GEMM_PANEL;
    one.n = b->n - row < 16 ? b->n - row : 16;
    nc_gemm_source part = *s;
    part.data = (const uint8_t *)s->data + nc_dtype_bytes(s->dtype, row * s->stride);
    pack_blocks(&one, &part, 0);
    if (b->kind == NC_GEMM_F32) {
        kernels->gemm->panel_f32((float *)panel_of(b, panel), one.kind, one.data, b->k, false);
    } else {
        nc_gemm_b wide;
        NC_TRY(nc_gemm_b_new(&wide, NC_GEMM_F32, 16, b->k, e));
        kernels->gemm->panel_f32(wide.data, one.kind, one.data, b->k, true);
        kernels->gemm->pack_bf16((uint16_t *)panel_of(b, panel), &(nc_gemm_source){ NC_F32, wide.data, 16, true }, 0, 16, b->k, false);
        nc_gemm_b_free(&wide);
    }
    nc_gemm_b_free(&one);
    return 0;
}

/* A transposed source holds a panel's columns as short runs far apart: a few k are packed for a group of panels, then the next. */
static void pack_floats(const nc_kernels *kernels, nc_gemm_b *b, const nc_gemm_source *s, int64_t panel0, int64_t panel1, bool stream)
{
    enum { STEPS = 64, GROUP = 8 };
    int64_t step = s->transposed ? STEPS : b->k, group = s->transposed ? GROUP : 1;
    for (int64_t first = panel0; first < panel1; first += group)
        for (int64_t k0 = 0; k0 < b->k; k0 += step)
            for (int64_t panel = first; panel < panel1 && panel < first + group; panel++) {
                int64_t row = panel * NC_GEMM_PANEL, k = b->k - k0 < step ? b->k - k0 : step;
                int valid = (int)(b->n - row < NC_GEMM_PANEL ? b->n - row : NC_GEMM_PANEL);
                nc_gemm_source part = *s;
                part.data = (const char *)s->data + nc_dtype_bytes(s->dtype, s->transposed ? k0 * s->stride : 0);
                uint8_t *out = panel_of(b, panel) + nc_gemm_panel_bytes(b->kind, k0);
                if (b->kind == NC_GEMM_F32)
                    kernels->gemm->pack_f32((float *)out, &part, row, valid, k, stream);
                else
                    kernels->gemm->pack_bf16((uint16_t *)out, &part, row, valid, k, stream);
            }
}

int nc_gemm_pack_panels(const nc_kernels *kernels, nc_gemm_b *b, const nc_gemm_source *s, int64_t panel0, int64_t panel1, bool stream, nc_error *e)
{
    bool blocks = s->dtype == NC_Q8_0 || s->dtype == NC_Q4_0;
    bool floats = s->dtype == NC_F32 || s->dtype == NC_F64 || s->dtype == NC_BF16 || s->dtype == NC_F16;
    bool same = blocks && b->kind == (s->dtype == NC_Q8_0 ? NC_GEMM_Q8_0 : NC_GEMM_Q4_0);
    if (!(floats && !quantized(b->kind)) && !(blocks && !s->transposed && s->stride % NC_GEMM_QK == 0 && b->k % NC_GEMM_QK == 0 && (same || !quantized(b->kind))))
        return nc_fail(e, NC_EUNSUPPORTED, "no packing from %s%s to this storage", nc_dtype_name(s->dtype), s->transposed ? " transposed" : "");
    if (floats)
        pack_floats(kernels, b, s, panel0, panel1, stream);
    else
        for (int64_t panel = panel0; panel < panel1; panel++) {
            if (same)
                pack_blocks(b, s, panel);
            else
                NC_TRY(widen_blocks(kernels, b, s, panel, e));
        }
    return 0;
}

void nc_gemm_pack_both(const nc_kernels *kernels, const nc_gemm_b *b, const uint16_t *rows, int64_t panel0, int64_t panel1)
{
    int64_t row0 = panel0 * NC_GEMM_PANEL, many = (panel1 * NC_GEMM_PANEL < b->n ? panel1 * NC_GEMM_PANEL : b->n) - row0;
    nc_gemm_source s = { .dtype = NC_BF16, .data = rows, .stride = b->k };
    for (int64_t panel = panel0; panel < panel1; panel++) {
        int64_t row = panel * NC_GEMM_PANEL - row0;
        kernels->gemm->pack_bf16((uint16_t *)panel_of(b, panel), &s, row, (int)(many - row < NC_GEMM_PANEL ? many - row : NC_GEMM_PANEL), b->k, true);
    }
    s.transposed = true;
    for (int64_t column = 0; column < b->k; column += NC_GEMM_PANEL) {
        uint8_t *out = (uint8_t *)b->turned + (size_t)(column / NC_GEMM_PANEL) * nc_gemm_panel_bytes(NC_GEMM_BF16, b->n) + nc_gemm_panel_bytes(NC_GEMM_BF16, row0);
        kernels->gemm->pack_bf16((uint16_t *)out, &s, column, (int)(b->k - column < NC_GEMM_PANEL ? b->k - column : NC_GEMM_PANEL), many, true);
    }
}

typedef struct pack_job { const nc_kernels *kernels; nc_gemm_b *b; const nc_gemm_source *s; bool stream; nc_error error; int failed; } pack_job;

static void pack_part(void *context, int64_t part, int64_t parts, int worker)
{
    pack_job *j = context;
    int64_t panels = nc_gemm_panels(j->b->n);
    nc_error error = { 0 };
    (void)worker;
    if (nc_gemm_pack_panels(j->kernels, j->b, j->s, panels * part / parts, panels * (part + 1) / parts, j->stream, &error) < 0 &&
        !__atomic_exchange_n(&j->failed, 1, __ATOMIC_ACQ_REL))
        j->error = error;
}

int nc_gemm_pack(const nc_kernels *kernels, nc_pool *pool, nc_gemm_b *b, const nc_gemm_source *s, bool stream, nc_error *e)
{
    pack_job j = { .kernels = kernels, .b = b, .s = s, .stream = stream };
    int64_t panels = nc_gemm_panels(b->n), parts = 4 * nc_pool_threads(pool);
    if (panels)
        nc_pool_run(pool, panels < parts ? panels : parts, pack_part, &j);
    if (j.failed)
        return nc_fail(e, j.error.code, "%s", j.error.message);
    return 0;
}

/* ---- back to rows ---- */

static float value(const nc_gemm_b *b, const uint8_t *panel, int column, int64_t k)
{
    if (b->kind == NC_GEMM_F32)
        return ((const float *)panel)[k * NC_GEMM_PANEL + column];
    if (b->kind == NC_GEMM_BF16)
        return nc_bf16_to_f32(((const uint16_t *)panel)[(k / 2 * NC_GEMM_PANEL + column) * 2 + k % 2]);
    return nc_ref_gemm_quant_value(b->kind, panel, b->k, k, column);
}

static void stored_row(const uint16_t *from, int64_t k, void *out, nc_dtype out_dtype)
{
    if (out_dtype == NC_BF16)
        memcpy(out, from, (size_t)k * 2);
    for (int64_t i = 0; out_dtype != NC_BF16 && i < k; i++)
        if (out_dtype == NC_F32)
            ((float *)out)[i] = nc_bf16_to_f32(from[i]);
        else
            ((double *)out)[i] = nc_bf16_to_f32(from[i]);
}

void nc_gemm_unpack_row(const nc_gemm_b *b, int64_t row, void *out, nc_dtype out_dtype)
{
    if (nc_gemm_is_stored(b)) {
        stored_row(b->rows + row * b->k, b->k, out, out_dtype);
        return;
    }
    const uint8_t *panel = panel_of(b, row / NC_GEMM_PANEL);
    int column = (int)(row % NC_GEMM_PANEL);
    if (b->kind == NC_GEMM_BF16 && out_dtype == NC_BF16) {
        const uint16_t *from = (const uint16_t *)panel + 2 * column;
        uint16_t *to = out;
        for (int64_t k = 0; k < b->k; k++)
            to[k] = from[k / 2 * 32 + k % 2];
        return;
    }
    for (int64_t k = 0; k < b->k; k++) {
        float v = value(b, panel, column, k);
        switch (out_dtype) {
        case NC_F32: ((float *)out)[k] = v; break;
        case NC_F64: ((double *)out)[k] = v; break;
        default:     ((uint16_t *)out)[k] = nc_f32_to_bf16(v); break;
        }
    }
}

static void unpack_blocks(const nc_gemm_b *b, int64_t row, uint8_t *out)
{
    bool four = b->kind == NC_GEMM_Q4_0;
    const uint8_t *panel = panel_of(b, row / NC_GEMM_PANEL), *q = panel + nc_gemm_scale_bytes(b->k);
    int column = (int)(row % NC_GEMM_PANEL);
    for (int64_t i = 0; i < b->k / NC_GEMM_QK; i++, out += four ? Q4_BLOCK : Q8_BLOCK) {
        memcpy(out, panel + (i * 16 + column) * 2, 2);
        if (four)
            q4_block_out(out, q + i * 256, column);
        else
            q8_block_out(out, q + i * 512, column);
    }
}

int nc_gemm_unpack(const nc_gemm_b *b, int64_t row0, int64_t rows, void *out, nc_dtype out_dtype, nc_error *e)
{
    bool blocks = (b->kind == NC_GEMM_Q8_0 && out_dtype == NC_Q8_0) || (b->kind == NC_GEMM_Q4_0 && out_dtype == NC_Q4_0);
    if (!blocks && out_dtype != NC_F32 && out_dtype != NC_F64 && out_dtype != NC_BF16)
        return nc_fail(e, NC_EUNSUPPORTED, "a packed weight cannot be given back as %s", nc_dtype_name(out_dtype));
    if (row0 < 0 || rows < 0 || rows > b->n || row0 > b->n - rows)
        return nc_fail(e, NC_EINVAL, "rows %lld..%lld of a weight with %lld rows", (long long)row0, (long long)(row0 + rows), (long long)b->n);
    size_t step = nc_dtype_bytes(out_dtype, b->k);
    for (int64_t i = 0; i < rows; i++) {
        uint8_t *to = (uint8_t *)out + (size_t)i * step;
        if (blocks)
            unpack_blocks(b, row0 + i, to);
        else
            nc_gemm_unpack_row(b, row0 + i, to, out_dtype);
    }
    return 0;
}
