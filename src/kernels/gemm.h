/* gemm.h - products y = x w^T with the weight w [n,k] packed beforehand, or packed on the way.
 *
 *   C[i,j] (+)= sum over k of A[i,k] * W[j,k]  + bias[j]            A [m,k], W [n,k], C [m,n]
 *
 * Arithmetic is chosen by A's dtype and W's storage alone:
 *   A f32, or W held in f32:  f32 (a weight's value is f32 of what is stored, dequantize(q) for quantized storage)
 *   A bf16, W held in BF16:   products of bf16 values summed in f32
 *   A bf16, W quantized:      by blocks (below), with the same bits at every level of the CPU
 * One accumulator an output element runs over k in ascending order (pairs of k with VDPBF16PS, 32 with AMX and of quantized storage), whatever the number
 * of rows, threads or the path taken, so a row's result depends on that row and the weight only. With `accumulate` the sum starts from C's old value.
 *
 * Quantized storage is blocks of 32 k: a scale and integers q. Each row of A is rounded, block by block, to a grid so fine that bf16's own digits stay
 * where |a| is above a sixteenth of the block's largest, and so coarse that 32 products with integers of eight bits add up exactly in 24 bits:
 *   step = 2^(exponent of the largest |a| - 11),  n = rint(a / step), |n| <= 4080;  a block below 2^-100 counts as zero, one from 2^100 on as no number
 *   C = fma(step * (sum over the block of n * q), scale, C), block after block
 * The inner sum is exact whatever computes it (bytes of n by VPDPBUSD, values n * step by the tiles), so only the order of the blocks matters.
 * The backward product takes bf16(dequantize(q)) for a weight's value.
 *
 * Packed layouts, in panels of 16 columns (= 16 rows of W; the last panel is filled with zeros):
 *   F32   [ceil(n/16)][k][16] float
 *   BF16  [ceil(n/16)][ceil(k/2)][16][2]    pairs of k; the layout of an AMX B tile and of VDPBF16PS; odd k is filled with zeros; or as stored (below)
 *   Q8_0  a panel is f16 scales [k/32][16], filled up to 64 bytes, then int8 [k/4][16][4]: fours of k, the layout of an int8 B tile and of VPDPBUSD
 *   Q4_0  likewise scales, then bytes [k/8][16][4]: of group g, column c and t < 4 the low nibble is the value + 8 of k = 8g + t, the high one of 8g + 4 + t
 */
#ifndef NC_KERNELS_GEMM_H
#define NC_KERNELS_GEMM_H
#include <pthread.h>
#include <stdatomic.h>
#include "kernels/kernels.h"

typedef enum nc_gemm_kind { NC_GEMM_F32, NC_GEMM_BF16, NC_GEMM_Q8_0, NC_GEMM_Q4_0, NC_GEMM_KINDS } nc_gemm_kind;
enum { NC_GEMM_PANEL = 16, NC_GEMM_QK = 32 };   /* columns of a panel; k of a quantized block */

typedef struct nc_gemm_b {                   /* a packed weight */
    nc_gemm_kind kind;
    int64_t n, k;
    void *data;                              /* 64-byte aligned */
    size_t bytes;
    void *turned;                            /* BF16, for training: the transpose [k,n] packed as well, kept beside by whoever writes; NULL: none */
    bool owned;                              /* nc_gemm_b_free gives data back (nc_pages_free) */
    const uint16_t *rows;                    /* BF16 that lies as its file holds it, [n][k]; NULL: packed (gemm_stored.c) */
    struct nc_gemm_stored *stored;           /* of rows: what the weight and its chunks share */
} nc_gemm_b;

/* A weight that stays in its file's mapping. Products of a few rows take it as it lies, with the bits of the packed one, so that a model answers before its
 * weights were copied once; the first other product, or the NC_GEMM_USES-th, packs it into `data` and gives the mapping's pages back. */
typedef struct nc_gemm_stored { nc_gemm_b whole; pthread_mutex_t lock; _Atomic bool packed; _Atomic int uses; } nc_gemm_stored;
enum { NC_GEMM_USES = 64 };                 /* by then what a product reads slower (a tenth) has cost as much as packing */

/* A weight as a file or the trainer holds it: element (row j, column k) of W at data[j*stride + k], or data[k*stride + j] when transposed.
 * dtype F32, F64, BF16, F16, or Q8_0/Q4_0 (ggml's blocks along k; not transposed; stride in elements). */
typedef struct nc_gemm_source { nc_dtype dtype; const void *data; int64_t stride; bool transposed; } nc_gemm_source;

/* Storage that keeps a source's values: BF16 -> BF16, F32/F16 -> F32 in f32 runs and BF16 in bf16 runs (bf16_run), Q8_0 -> Q8_0 ... */
nc_gemm_kind nc_gemm_kind_for(nc_dtype source, bool bf16_run);
/* Bytes of a packed weight; NC_ELIMIT on overflow, NC_ESHAPE when k is no multiple of 32 for quantized kinds. */
int nc_gemm_b_bytes(nc_gemm_kind kind, int64_t n, int64_t k, size_t *bytes, nc_error *e);
int nc_gemm_b_new(nc_gemm_b *b, nc_gemm_kind kind, int64_t n, int64_t k, nc_error *e);              /* allocates, zeroed */
int nc_gemm_b_borrow(nc_gemm_b *b, nc_gemm_kind kind, int64_t n, int64_t k, void *data, nc_error *e);   /* caller's aligned memory of nc_gemm_b_bytes */
void nc_gemm_b_free(nc_gemm_b *b);
bool nc_gemm_can_store(const nc_kernels *kernels, int64_t n, int64_t k);    /* this level has products for such a weight as it is stored */
/* As nc_gemm_b_borrow, for rows that outlive b; data is not touched before the weight is packed. *shared lives as long as b and its chunks. */
int nc_gemm_b_store(nc_gemm_b *b, nc_gemm_stored *shared, int64_t n, int64_t k, const uint16_t *rows, void *data, nc_error *e);
bool nc_gemm_is_stored(const nc_gemm_b *b);                                 /* not packed yet */
void nc_gemm_settle(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_b *b);   /* packed, if it was not; any thread may ask */
/* Rows [row0, row0 + rows) of W as a weight of its own on the same memory; row0 is a multiple of NC_GEMM_PANEL. It has nothing turned. */
nc_gemm_b nc_gemm_chunk(const nc_gemm_b *b, int64_t row0, int64_t rows);

/* Packs panels [panel0, panel1) in the calling thread (a loader calls this for ranges and drops the source's pages behind it); `stream`: stores that
 * bypass the cache, for loading. Float sources go to F32 and BF16 (round to nearest even); Q8_0/Q4_0 sources to their own kind, F32 or BF16.
 * NC_EUNSUPPORTED for other pairs. */
int nc_gemm_pack_panels(const nc_kernels *kernels, nc_gemm_b *b, const nc_gemm_source *s, int64_t panel0, int64_t panel1, bool stream, nc_error *e);
int nc_gemm_pack(const nc_kernels *kernels, nc_pool *pool, nc_gemm_b *b, const nc_gemm_source *s, bool stream, nc_error *e);   /* all, in parallel */
/* Panels [panel0, panel1), packed and turned, from their rows [row - 16*panel0][k] held plain in BF16; panel0 is even, panel1 even or the last. */
void nc_gemm_pack_both(const nc_kernels *kernels, const nc_gemm_b *b, const uint16_t *rows, int64_t panel0, int64_t panel1);
static inline int64_t nc_gemm_panels(int64_t n) { return (n + NC_GEMM_PANEL - 1) / NC_GEMM_PANEL; }

/* Row j of W: k values to out as F32, F64 or BF16 (bf16 of quantized storage is bf16(dequantize(q))). An embedding gather reads packed weights by it. */
void nc_gemm_unpack_row(const nc_gemm_b *b, int64_t row, void *out, nc_dtype out_dtype);
/* Rows [row0, row0+rows) to row-major out; out_dtype as above, or the kind's own block type (NC_Q8_0, NC_Q4_0: the bytes that were packed). */
int nc_gemm_unpack(const nc_gemm_b *b, int64_t row0, int64_t rows, void *out, nc_dtype out_dtype, nc_error *e);

/* One product. A's element (i,k) is a[i*lda + k], or a[k*lda + i] when a_transposed. No overlap of C with anything else. Rows may be 0. */
typedef struct nc_gemm_call {
    int64_t m;
    const void *a; nc_dtype a_dtype; int64_t lda; bool a_transposed;    /* F32 or BF16 */
    void *c; nc_dtype c_dtype; int64_t ldc;                             /* F32 or BF16 */
    const void *bias; nc_dtype bias_dtype;                              /* n values of F32 or BF16, or NULL */
    bool accumulate;
    bool again;                                                         /* the call before with this workspace had this A and a BF16 weight too, and A is unchanged: it may be packed still */
    bool near;                                                          /* C is small memory used again and again and read at once: a large one stays in the cache too */
    float *squares;                                                     /* sums of the squares of C's tiles of 32 x 32, [ceil(m/32)][ceil(n/32)], or NULL; see below */
} nc_gemm_call;
/* Whether this level counts squares of C, which is then F32 and without a bias. The sums depend on C alone. */
bool nc_gemm_counts_squares(const nc_kernels *kernels, nc_gemm_kind kind, nc_dtype a_dtype);
static inline int64_t nc_gemm_square_tiles(int64_t m, int64_t n) { return (m + 31) / 32 * ((n + 31) / 32); }

/* Workspace in bytes (64-byte aligned memory) for any call with at most m rows. `packs`: for nc_gemm_plain. */
size_t nc_gemm_workspace(const nc_kernels *kernels, nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads, bool packs);
void nc_gemm(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace);
/* The same with W plain (F32, BF16 or F16): packed into the workspace first as `kind` (F32 or BF16). Gives the bits nc_gemm would give. */
void nc_gemm_plain(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_source *w, nc_gemm_kind kind, int64_t n, int64_t k,
                   void *workspace);

/* C [m,k] (+)= A [m,n] W: the gradient towards the input of a product whose weight is packed (maybe quantized). Panels are transposed into the workspace, of
 * nc_gemm_backward_workspace bytes; kind is b's. Where b is turned and A is BF16 nc_gemm_workspace(kernels, BF16, m, k, n, BF16, threads, false) does. */
size_t nc_gemm_backward_workspace(const nc_kernels *kernels, nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads);
void nc_gemm_backward(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace);
/* The most that any level of this CPU asks for: what a plan reserves before the level is known. */
size_t nc_gemm_workspace_any(nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads, bool packs);
size_t nc_gemm_backward_workspace_any(nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads);

/* The definition, sums in double. a [m,k] by strides, w by strides (row j, column k at w[j*ws + k*wk]); C (+)= scale-free product. */
void nc_ref_gemm_f64(double *c, int64_t ldc, const double *a, int64_t as, int64_t ak, const double *w, int64_t ws, int64_t wk,
                     int64_t m, int64_t n, int64_t k, const double *bias, bool accumulate);
void nc_ref_gemm_f32(float *c, int64_t ldc, const float *a, int64_t as, int64_t ak, const float *w, int64_t ws, int64_t wk,
                     int64_t m, int64_t n, int64_t k, const float *bias, bool accumulate);

size_t nc_gemm_panel_bytes(nc_gemm_kind kind, int64_t k);
/* Bytes of scales before a quantized panel's values. */
static inline size_t nc_gemm_scale_bytes(int64_t k) { return ((size_t)(k / NC_GEMM_QK) * 32 + 63) & ~(size_t)63; }

/* ---- what an ISA provides (kernels/cpu/gemm_<isa>.c); used by gemm.c and gemm_slabs.c only ---- */
typedef struct nc_gemm_out {                 /* where a tile's sums go */
    void *c; int64_t ldc; nc_dtype c_dtype;  /* c points at the tile's first element */
    const void *bias; nc_dtype bias_dtype;   /* at the tile's first column, or NULL */
    bool accumulate;
    int columns;                             /* valid columns of the tile */
    float *squares; int64_t squares_step;    /* of slabs: the sum of the first 32 rows' squares, and floats to that of the next; or NULL */
    const char *ahead; int64_t ahead_step;   /* what to fetch into L2 meanwhile: ahead_step bytes on at each step (k, or pair of k); any address is harmless */
    const char *next; int64_t next_step;     /* the tile of C that comes after this one and the bytes between its rows, to be fetched meanwhile; or NULL */
} nc_gemm_out;

/* Rows of packed A by two panels of W, for a level whose tiles keep no state from call to call but sums in memory (AMX). */
typedef struct nc_gemm_slab {
    nc_gemm_out o;                           /* of the slab's first row */
    const uint16_t *a, *w;                   /* packed blocks of 32 rows; panels end to end */
    int64_t rows, k;
    int panels;
    bool stream;                             /* C, in whole lines, is written past the cache */
    bool narrow;                             /* halves of 16 rows one after the other: the same sums, with fewer tiles alive */
    float *sums[2];                          /* NC_GEMM_SLAB_SUMS(rows) floats each of the worker's own: this slab's, and the last one's on their way to C */
    const char *ahead; int64_t ahead_lines;  /* the panels used next, packed one behind the other, and their lines of 64 bytes; ahead may be NULL */
} nc_gemm_slab;
#define NC_GEMM_SLAB_SUMS(rows) (((rows) + 31) / 32 * 1024)

/* A worker's last slab of finished sums, on its way to C: which of its sums[2], the block of 32 rows that is under way, its next row, and how many rows follow
 * the block. All zero: none. squares: by lane, of the block's rows so far. */
typedef struct nc_gemm_rest { nc_gemm_out o; int area; const float *sums; int row, rows; int64_t left; bool stream; float squares[16]; } nc_gemm_rest;

/* A group of rows of A as blocks of integers n = 64 high + low, 0 <= low < 64: q [k/32][rows][high 32, low 32], step and offset [k/32][rows]. An offset is
 * -bias times the sum of the block's n, for tiles that take W's values plus bias (128 of Q8_0, 8 of Q4_0). 512 bytes from any block's q on may be read. */
typedef struct nc_gemm_block_rows { int8_t *q; float *step; int32_t *offset; int bias; } nc_gemm_block_rows;

/* Rows on their grid, in groups of 16, by one or two panels. */
typedef struct nc_gemm_block_slab {
    nc_gemm_out o;                           /* of the first row */
    const uint16_t *a, *w;                   /* groups end to end; widened panels end to end */
    const uint16_t *scale[2];                /* of the panels, [k/32][16] f16 */
    int64_t rows, k;
    int panels;
    float *sums;                             /* NC_GEMM_BLOCK_SUMS(rows) floats of the worker's own */
} nc_gemm_block_slab;
#define NC_GEMM_BLOCK_SUMS(rows) (((rows) + 15) / 16 * 512)

struct nc_gemm_kernels {
    nc_isa isa;
    bool bf16;                               /* has tiles over bf16 panels; else bf16 arithmetic widens A and W to f32 (exact) and uses the f32 tiles */
    int rows[2];                             /* most rows of a tile: [0] f32, [1] bf16 */
    int panels[2];                           /* panels of a tile */
    int k_step;                              /* bf16: packed A is filled with zeros to a multiple of this many k (2 or 32) */
    /* A rows [row, row+rows) as one packed block. f32: [k][rows]; bf16: [ceil(k/2)][rows][2] (AMX: [k/32][16 or 32 rows][32]). */
    void (*pack_a_f32)(float *out, const void *a, nc_dtype dtype, int64_t lda, bool transposed, int64_t row, int rows, int64_t k);
    void (*pack_a_bf16)(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k);
    /* C tile of rows x (panels*16): b holds `panels` panels end to end. */
    void (*tile_f32)(const nc_gemm_out *o, const float *a, int rows, const float *b, int panels, int64_t k);
    void (*tile_bf16)(const nc_gemm_out *o, const uint16_t *a, int rows, const uint16_t *b, int panels, int64_t k);
    /* In place of tile_bf16, or NULL: begin, slabs and end by one thread. Products of a slab may reach C as late as end. */
    void (*slab_begin)(void);
    bool (*slab_narrow)(void);               /* after slab_begin: whether narrow slabs would be faster on this core now */
    void (*slab_bf16)(const nc_gemm_slab *s, nc_gemm_rest *rest);
    void (*slab_end)(nc_gemm_rest *rest);
    /* The same of at most few_rows (0: none) rows by W packed or as stored, in place of pack_a_bf16, slab_begin and slab_bf16; k is a multiple of 32.
     * A is then [k/32][rows][32], or for W as stored [k/2][rows][2]. */
    int few_rows;
    void (*few_a)(uint16_t *out, const uint16_t *a, int64_t lda, int rows, int64_t k, bool stored);
    void (*few_begin)(int rows, bool stored);
    void (*few_slab)(const nc_gemm_slab *s, bool stored);
    /* Products by blocks (gemm_blocks.c): bf16 rows to a group of at most blocks_rows rows of integers, and the group by one panel. */
    int blocks_rows;
    void (*blocks_a)(const nc_gemm_block_rows *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k);
    void (*blocks_tile)(const nc_gemm_out *o, const nc_gemm_block_rows *a, int rows, nc_gemm_kind kind, const void *panel, int64_t k);
    void (*blocks_begin)(void), (*blocks_end)(void);     /* around a thread's tiles, or NULL */
    /* More rows than that by slabs, or NULL: rows on their grid to [k/32][16][32] (rows that are not there zero), a panel's integers to bf16 pairs. */
    void (*blocks_grid)(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k);
    void (*blocks_widen)(uint16_t *out, nc_gemm_kind kind, const void *panel, int64_t k);
    void (*blocks_slab)(const nc_gemm_block_slab *s);
    /* One panel of any kind to f32 [k][16] (round: quantized values rounded to bf16 first). */
    void (*panel_f32)(float *out, nc_gemm_kind kind, const void *panel, int64_t k, bool round);
    /* One panel from a float source: columns row..row+valid of W (valid <= 16). */
    void (*pack_f32)(float *out, const nc_gemm_source *s, int64_t row, int valid, int64_t k, bool stream);
    void (*pack_bf16)(uint16_t *out, const nc_gemm_source *s, int64_t row, int valid, int64_t k, bool stream);
};
/* Products by slabs (gemm_slabs.c): bf16 arithmetic where slab_bf16 is not NULL; of a weight that is still stored where nc_gemm_takes_few. */
size_t nc_gemm_slabs_workspace(int64_t m, int64_t k, int threads);
void nc_gemm_slabs(const struct nc_gemm_kernels *t, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace);
bool nc_gemm_takes_few(const struct nc_gemm_kernels *t, const nc_gemm_call *call, int64_t k);
bool nc_gemm_stays(const nc_gemm_b *b);      /* one more use; false: it is time to pack it */
/* Products by blocks (gemm_blocks.c): A bf16, W quantized. */
size_t nc_gemm_blocks_workspace(const struct nc_gemm_kernels *t, int64_t m, int64_t k, int threads);
void nc_gemm_blocks(const struct nc_gemm_kernels *t, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace);
#endif
