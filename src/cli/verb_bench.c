/* verb_bench.c - measurements, each beside the limit measured in the same run. */
#include <string.h>

#include "base/file.h"
#include "cli/bench.h"
#include "cli/bench_attention.h"
#include "cli/bench_models.h"
#include "cli/cli.h"

static const nc_cli_option options[] = {
    { "json", NULL, "for programs" },
    { "config", "FILE", "model, train, vision, load: a config.json; bench/configs has the peers' shapes" },
    { "dtype", "TYPE", "f32, bf16, q8_0 or q4_0; bf16" },
    { "prompt", "N", "model: tokens of the prefill; 512" },
    { "generate", "N", "model: tokens decoded; 64" },
    { "batch", "N", "model: sequences, 1; train: sequences, 4; vision: pictures, 1" },
    { "depth", "N", "model: rows already in the cache; 0" },
    { "tokens", "N", "train: tokens of a sequence; 256" },
    { "threads", "N", "threads, all CPUs by default" },
    { "steps", "N", "train: timed steps, of which the fastest counts; 3" },
    { "profile", NULL, "train: time by op and by scope beside the limits" },
    { "once", NULL, "load: what the timed child does" },
    { NULL, NULL, NULL },
};

static const char *const kinds[] = { "roofline", "gemm", "attention", "load", "model", "vision", "train" };

static int read_options(nc_cli *c, const char *kind, nc_bench_options *o, nc_error *e)
{
    static const char *const names[] = { "f32", "bf16", "q8_0", "q4_0" };
    static const nc_dtype types[] = { NC_F32, NC_BF16, NC_Q8_0, NC_Q4_0 };
    const char *dtype = nc_cli_get(c, "dtype");
    int64_t prompt, generate, batch, depth, tokens, threads, steps;
    NC_TRY(nc_cli_int(c, "prompt", 1, 1 << 20, 512, &prompt, e));
    NC_TRY(nc_cli_int(c, "generate", 1, 1 << 20, 64, &generate, e));
    NC_TRY(nc_cli_int(c, "batch", 1, 4096, strcmp(kind, "train") ? 1 : 4, &batch, e));
    NC_TRY(nc_cli_int(c, "depth", 0, 1 << 20, 0, &depth, e));
    NC_TRY(nc_cli_int(c, "tokens", 1, 1 << 20, 256, &tokens, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    NC_TRY(nc_cli_int(c, "steps", 1, 1 << 20, 3, &steps, e));
    *o = (nc_bench_options){ .config = nc_cli_get(c, "config"), .dtype = NC_DTYPES, .prompt = (int)prompt, .generate = (int)generate, .batch = (int)batch, .depth = (int)depth,
                             .tokens = (int)tokens, .threads = (int)threads, .steps = (int)steps, .profile = nc_cli_has(c, "profile") };
    for (int i = 0; i < NC_COUNT(names); i++)
        if (!strcmp(names[i], dtype ? dtype : "bf16"))
            o->dtype = types[i];
    if (o->dtype == NC_DTYPES)
        return nc_cli_usage(c, e, "bench: --dtype %s: f32, bf16, q8_0 and q4_0 are measured", dtype);
    if (nc_dtype_get(o->dtype)->is_quantized && strcmp(kind, "model") && strcmp(kind, "vision"))
        return nc_cli_usage(c, e, "bench %s: --dtype %s: only f32 and bf16 here", kind, dtype);
    return 0;
}

/* roofline, gemm, attention: the kernels alone. */
static int kernels_alone(nc_cli *c, const char *kind, nc_buf *table, nc_buf *json, nc_error *e)
{
    int64_t threads;
    nc_roofline limits = { 0 };
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    nc_pool *pool = nc_pool_new((int)threads);
    const nc_kernels *k = nc_kernels_best();
    bool only = !strcmp(kind, "roofline");
    int status = nc_bench_roofline(pool, k, &limits, only ? table : NULL, only ? json : NULL, e);
    if (status == 0 && !strcmp(kind, "gemm"))
        status = nc_bench_gemm(pool, k, &limits, table, json, e);
    if (status == 0 && !strcmp(kind, "attention"))
        status = nc_bench_attention(pool, k, limits.f32_gflops, limits.bf16_gflops, limits.dram_read_gbps, table, json, e);
    nc_pool_free(pool);
    return status;
}

/* The peers' shape for each measurement, when run from the source's root. */
static const char *default_config(const char *kind)
{
    const char *path = !strcmp(kind, "train") ? "bench/configs/gpt2-124m.json" : !strcmp(kind, "vision") ? "bench/configs/vit-l-14-336.json" : "bench/configs/qwen3-0.6b.json";
    return nc_file_exists(path) ? path : NULL;
}

static int run(nc_cli *c, nc_error *e)
{
    const char *kind = c->word[0], *folder = c->words > 1 ? c->word[1] : NULL;
    nc_bench_options o;
    nc_buf table = { 0 }, json = { 0 };
    int known = 0;
    for (int i = 0; i < NC_COUNT(kinds); i++)
        known += !strcmp(kinds[i], kind);
    if (!known) {
        const char *near = nc_nearest(kind, kinds, NC_COUNT(kinds));
        return nc_cli_usage(c, e, "bench %s: no such measurement%s%s; roofline, gemm, attention, load, model, vision and train are", kind, near ? ", did you mean " : "", near ? near : "");
    }
    NC_TRY(read_options(c, kind, &o, e));
    bool of_model = !strcmp(kind, "load") || !strcmp(kind, "model") || !strcmp(kind, "vision") || !strcmp(kind, "train");
    if (nc_cli_has(c, "once") && folder)
        return nc_bench_load_once(folder, o.dtype, e);
    if (of_model && !o.config && !folder)
        o.config = default_config(kind);
    if (of_model && !o.config && !folder)
        return nc_cli_usage(c, e, "bench %s: --config FILE is needed (bench/configs has some)", kind);
    int status = 0;
    if (!strcmp(kind, "load"))
        status = nc_bench_load(c->program, folder, &o, &table, &json, e);
    else if (!strcmp(kind, "model"))
        status = nc_bench_model(&o, &table, &json, e);
    else if (!strcmp(kind, "vision"))
        status = nc_bench_vision(&o, &table, &json, e);
    else if (!strcmp(kind, "train"))
        status = nc_bench_train(&o, &table, &json, e);
    else
        status = kernels_alone(c, kind, &table, &json, e);
    if (status == 0)
        nc_cli_print(nc_cli_has(c, "json") ? &json : &table);
    nc_buf_free(&table);
    nc_buf_free(&json);
    return status;
}

const nc_verb nc_verb_bench = { "bench", "roofline|gemm|attention|load|model|vision|train [FOLDER]", "measure, beside the limits of this machine",
    "share: operations of the linear parts and of attention / time / the peak measured in the run; decode_share: bytes of weights and cache read / time / the memory\n"
    "bandwidth measured in the run.",
    options, 1, 2, false, run };
