/* bench_setup.c - limits, a model from a config alone, random weights in the form the run holds them in, and the process's memory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "cli/bench_models.h"

static size_t status_bytes(const char *key)
{
    nc_buf b = { 0 };
    nc_error e = { 0 };
    size_t kb = 0;
    if (nc_file_read("/proc/self/status", 1 << 20, &b, &e) == 0 && b.p) {
        const char *line = strstr(b.p, key);
        kb = line ? strtoull(line + strlen(key), NULL, 10) : 0;
    }
    nc_buf_free(&b);
    return kb * 1024;
}

size_t nc_bench_peak_bytes(void) { return status_bytes("VmHWM:"); }
size_t nc_bench_reserve(void) { return status_bytes("RssFile:") + (11 << 20); }

/* The limits are measured in a block of a gigabyte; the peak counts from here. */
static void forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "5", 1) != 1)
        fprintf(stderr, "nunchi: the system does not let the peak be reset; peak_bytes counts the measurement of the limits too\n");
    close(fd);
}

/* ---- random numbers ---- */

enum { CHUNK_PANELS = 16 };

struct fresh { nc_site *s; nc_dtype dtype; const nc_kernels *kernels; int failed; };

static float small(uint32_t u) { return ((float)u / 4294967296.0f - 0.5f) * 0.07f; }      /* standard deviation 0.02 */

static void draw(nc_dtype t, uint64_t stream, int64_t n, char *out)
{
    const nc_dtype_info *info = nc_dtype_get(t);
    uint32_t u[4];
    if (info->is_quantized) {
        uint16_t scale = nc_f32_to_f16(t == NC_Q8_0 ? 0.035f / 127 : 0.035f / 8);
        for (int64_t b = 0; b < n / info->block; b++, out += info->bytes) {
            memcpy(out, &scale, 2);
            for (int i = 2; i < info->bytes; i += 16) {
                nc_philox(1, stream, (uint64_t)(b * 4 + i / 16), u);
                memcpy(out + i, u, (size_t)(info->bytes - i < 16 ? info->bytes - i : 16));
            }
        }
        return;
    }
    for (int64_t i = 0; i < n; i += 4) {
        nc_philox(1, stream, (uint64_t)i, u);
        for (int k = 0; k < 4 && i + k < n; k++) {
            float v = small(u[k]);
            if (t == NC_F32)
                memcpy(out + (i + k) * 4, &v, 4);
            else {
                uint16_t h = nc_f32_to_bf16(v);
                memcpy(out + (i + k) * 2, &h, 2);
            }
        }
    }
}

static void pack_part(void *context, int64_t part, int64_t parts, int worker)
{
    struct fresh *f = context;
    const nc_gemm_b *b = f->s->packed;
    int64_t begin = part * CHUNK_PANELS, end = begin + CHUNK_PANELS, panels = nc_gemm_panels(b->n);
    (void)parts, (void)worker;
    end = end < panels ? end : panels;
    int64_t row = begin * NC_GEMM_PANEL, rows = (end * NC_GEMM_PANEL < b->n ? end * NC_GEMM_PANEL : b->n) - row;
    char *values = nc_xmalloc(nc_dtype_bytes(f->dtype, rows * b->k) + 64);
    draw(f->dtype, nc_rng_stream((uint64_t)f->s->index, (uint64_t)part, 0, 0), rows * b->k, values);
    nc_gemm_b piece = { .kind = b->kind, .n = rows, .k = b->k, .data = (char *)b->data + (size_t)begin * nc_gemm_panel_bytes(b->kind, b->k) };
    nc_gemm_source source = { f->dtype, values, b->k, false };
    if (nc_gemm_pack_panels(f->kernels, &piece, &source, 0, end - begin, true, NULL) < 0)
        f->failed = 1;
    free(values);
}

static void plain_part(void *context, int64_t part, int64_t parts, int worker)
{
    struct fresh *f = context;
    const nc_site *s = f->s;
    int64_t begin = part << 16, n = nc_site_count(s) - begin;
    (void)parts, (void)worker;
    n = n < 1 << 16 ? n : 1 << 16;
    char *out = (char *)s->value.data + nc_dtype_bytes(s->value.dtype, begin);
    if (s->init == NC_INIT_NORMAL)
        draw(s->value.dtype, nc_rng_stream((uint64_t)s->index, (uint64_t)part, 1, 0), n, out);
    else
        for (int64_t i = 0; i < n; i++)
            nc_dtype_store(s->value.dtype, out, i, s->init == NC_INIT_ONE);
    if (s->master && (void *)s->master != s->value.data)
        for (int64_t i = 0; i < n; i++)
            s->master[begin + i] = (float)nc_dtype_load(s->value.dtype, out, i);
}

static void master_part(void *context, int64_t part, int64_t parts, int worker)
{
    const nc_site *s = ((struct fresh *)context)->s;
    int64_t begin = part << 16, n = nc_site_count(s) - begin;
    (void)parts, (void)worker;
    draw(NC_F32, nc_rng_stream((uint64_t)s->index, (uint64_t)part, 1, 0), n < 1 << 16 ? n : 1 << 16, (char *)(s->master + begin));
}

static bool is_packed(const nc_bench *b, const nc_site *s) { return nc_site_is_packed(s, &b->weights) && !nc_site_trains_packed(s, &b->weights); }

static nc_dtype stored_as(const nc_bench *b, const nc_site *s)
{
    return nc_dtype_get(b->o.dtype)->is_quantized && !nc_site_quantizes(s) ? NC_BF16 : b->o.dtype;
}

/* Packed weights are cut from one block, as loading does: a block of its own for each would lie in small pages where it is no multiple of a huge one. */
static int give_storage(nc_bench *b, nc_error *e)
{
    size_t total = 0, bytes;
    char *at = NULL;
    for (int round = 0; round < 2; round++) {
        if (round && total && !(at = nc_model_alloc(b->model, total)))
            return nc_fail(e, NC_ENOMEM, "bench: %.1f GB for weights are not to be had", (double)total / 1e9);
        for (int i = 0; i < b->model->site_count; i++) {
            nc_site *s = b->model->sites[i];
            if (!is_packed(b, s))
                continue;
            int64_t rows = s->shape.rank ? s->shape.dim[0] : 1, columns = nc_site_count(s) / rows;
            nc_gemm_kind kind = nc_gemm_kind_for(stored_as(b, s), b->weights.compute == NC_BF16);
            NC_TRY(nc_gemm_b_bytes(kind, rows, columns, &bytes, e));
            bytes = (bytes + 63) & ~(size_t)63;
            if (round) {
                s->packed = NC_NEW(b->arena, nc_gemm_b);
                NC_TRY(nc_gemm_b_borrow(s->packed, kind, rows, columns, at, e));
                at += bytes;
            } else
                total += bytes;
        }
    }
    return 0;
}

static int fill_site(nc_bench *b, nc_site *s, nc_error *e)
{
    struct fresh f = { .s = s, .dtype = stored_as(b, s), .kernels = b->kernels };
    if (nc_site_trains_packed(s, &b->weights)) {
        nc_pool_run(b->pool, (nc_site_count(s) + 65535) >> 16, master_part, &f);
        nc_site_refresh(s, b->pool, b->kernels);
        return 0;
    }
    if (!is_packed(b, s)) {
        nc_pool_run(b->pool, (nc_site_count(s) + 65535) >> 16, plain_part, &f);
        return 0;
    }
    nc_pool_run(b->pool, (nc_gemm_panels(s->packed->n) + CHUNK_PANELS - 1) / CHUNK_PANELS, pack_part, &f);
    return f.failed ? nc_fail(e, NC_EUNSUPPORTED, "bench: %s cannot be packed as %s", s->name, nc_dtype_name(f.dtype)) : 0;
}

/* ---- the model ---- */

static void count_work(nc_bench *b)
{
    const nc_json *c = nc_json_get(b->config, "text_config");
    nc_head head = { 0 };
    c = c ? c : b->config;
    if (b->model->family->head)
        b->model->family->head(b->model->self, &head);
    for (int i = 0; i < b->model->site_count; i++)
        if ((b->model->sites[i]->flags & NC_SITE_LINEAR) && b->model->sites[i] != head.w)
            b->linear += (double)nc_site_count(b->model->sites[i]);
    b->head = head.w ? (double)nc_site_count(head.w) : 0;
    const nc_json *heads = nc_json_get(c, "num_attention_heads"), *layers = nc_json_get(c, "num_hidden_layers"), *width = nc_json_get(c, "hidden_size");
    b->heads = (int)nc_json_int(heads ? heads : nc_json_get(c, "n_head"), 1);
    b->layers = (int)nc_json_int(layers ? layers : nc_json_get(c, "n_layer"), 0);
    b->head_dim = (int)nc_json_int(nc_json_get(c, "head_dim"), nc_json_int(width ? width : nc_json_get(c, "n_embd"), 0) / (b->heads ? b->heads : 1));
}

int nc_bench_open(nc_bench *b, const nc_bench_options *o, bool train, nc_error *e)
{
    static const char *const all[] = { "*", NULL };
    *b = (nc_bench){ .arena = nc_arena_new(), .o = *o, .pool = nc_pool_new(o->threads), .kernels = nc_kernels_best() };
    NC_TRY(nc_json_load(b->arena, o->config, &b->config, e));
    int status = nc_model_new(b->config, &b->model, e);
    if (status < 0) {
        nc_fail_in(e, "%s", o->config);
        return status;
    }
    NC_TRY(nc_roofline_measure(b->kernels, b->pool, &b->limits, e));
    forget_peak();
    b->weights = (nc_weights_options){ .compute = o->dtype == NC_F32 ? NC_F32 : NC_BF16, .pack = !train, .pool = b->pool, .kernels = b->kernels };
    if (train)
        nc_model_train_only(b->model, all);
    nc_weights_plan plan = nc_weights_bytes(b->model, &b->weights, train ? NC_DTYPES : o->dtype);
    b->weight_bytes = plan.values + plan.masters + plan.gradients;
    NC_TRY(nc_weights_allocate(b->model, &b->weights, e));
    NC_TRY(give_storage(b, e));
    for (int i = 0; i < b->model->site_count; i++)
        NC_TRY(fill_site(b, b->model->sites[i], e));
    count_work(b);
    return 0;
}

void nc_bench_close(nc_bench *b)
{
    nc_model_free(b->model);
    nc_pool_free(b->pool);
    nc_arena_free(b->arena);
}

double nc_bench_peak(const nc_bench *b) { return 1e9 * (b->weights.compute == NC_F32 ? b->limits.f32_gflops : b->limits.bf16_gflops); }
