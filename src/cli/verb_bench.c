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
    { "steps", "N", "train, vision, model's prefill, load: timed runs, of which the median counts; 5" },
    { "profile", NULL, "model (its prefill), train, vision: time by op and by scope beside the limits" },
    { "text", "FILE", "tokenizer: the text it is timed on; 10 MB made of Korean, English and code" },
    { "keep", "FILE", "tokenizer: writes the text there, for other programs to be timed on" },
    { "once", NULL, "load: what the timed child does" },
    { NULL, NULL, NULL },
};

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
    NC_TRY(nc_cli_int(c, "steps", 1, 1 << 20, 5, &steps, e));
    *o = (nc_bench_options){ .config = nc_cli_get(c, "config"), .dtype = NC_DTYPES, .prompt = (int)prompt, .generate = (int)generate, .batch = (int)batch, .depth = (int)depth,
                             .tokens = (int)tokens, .threads = (int)threads, .steps = (int)steps, .profile = nc_cli_has(c, "profile"), .text = nc_cli_get(c, "text"), .keep = nc_cli_get(c, "keep") };
    for (int i = 0; i < NC_COUNT(names); i++)
        if (!strcmp(names[i], dtype ? dtype : "bf16"))
            o->dtype = types[i];
    if (o->dtype == NC_DTYPES)
        return nc_cli_usage(c, e, "bench: --dtype %s: f32, bf16, q8_0 and q4_0 are measured", dtype);
    if (nc_dtype_get(o->dtype)->is_quantized && strcmp(kind, "model") && strcmp(kind, "vision"))
        return nc_cli_usage(c, e, "bench %s: --dtype %s: only f32 and bf16 here", kind, dtype);
    return 0;
}

/* What one measurement is given; table and json are appended to. */
struct task { nc_cli *c; const char *folder; nc_bench_options o; nc_buf table, json; };

/* roofline, gemm, attention: the kernels alone. */
static int kernels_alone(struct task *t, nc_error *e)
{
    const char *kind = t->c->word[0];
    nc_roofline limits = { 0 };
    nc_pool *pool = nc_pool_new(t->o.threads);
    const nc_kernels *k = nc_kernels_best();
    bool only = !strcmp(kind, "roofline");
    int status = nc_bench_roofline(pool, k, &limits, only ? &t->table : NULL, only ? &t->json : NULL, e);
    if (status == 0 && !strcmp(kind, "gemm"))
        status = nc_bench_gemm(pool, k, &limits, &t->table, &t->json, e);
    if (status == 0 && !strcmp(kind, "attention"))
        status = nc_bench_attention(pool, k, limits.f32_gflops, limits.bf16_gflops, limits.dram_read_gbps, &t->table, &t->json, e);
    nc_pool_free(pool);
    return status;
}

static int load(struct task *t, nc_error *e)
{
    if (nc_cli_has(t->c, "once") && t->folder)
        return nc_bench_load_once(t->folder, t->o.dtype, e);
    return nc_bench_load(t->c->program, t->folder, &t->o, &t->table, &t->json, e);
}

static int model(struct task *t, nc_error *e) { return nc_bench_model(&t->o, &t->table, &t->json, e); }
static int vision(struct task *t, nc_error *e) { return nc_bench_vision(&t->o, &t->table, &t->json, e); }
static int train(struct task *t, nc_error *e) { return nc_bench_train(&t->o, &t->table, &t->json, e); }

static int tokenizer(struct task *t, nc_error *e)
{
    if (!t->folder)
        return nc_cli_usage(t->c, e, "bench tokenizer: a FOLDER with a tokenizer, or its file, is needed");
    return nc_bench_tokenizer(t->folder, &t->o, &t->table, &t->json, e);
}

/* config: the peers' shape, when run from the source's root; NULL: the measurement takes none. */
#define MEASUREMENTS "roofline, gemm, attention, load, model, vision, train and tokenizer"
static const struct measurement { const char *name; int (*run)(struct task *t, nc_error *e); const char *config; } measurements[] = {
    { "roofline", kernels_alone, NULL },
    { "gemm", kernels_alone, NULL },
    { "attention", kernels_alone, NULL },
    { "load", load, "bench/configs/qwen3-0.6b.json" },
    { "model", model, "bench/configs/qwen3-0.6b.json" },
    { "vision", vision, "bench/configs/vit-l-14-336.json" },
    { "train", train, "bench/configs/gpt2-124m.json" },
    { "tokenizer", tokenizer, NULL },
};

static int run(nc_cli *c, nc_error *e)
{
    const char *kind = c->word[0], *names[NC_COUNT(measurements)];
    const struct measurement *m = NULL;
    struct task t = { .c = c, .folder = c->words > 1 ? c->word[1] : NULL };
    for (int i = 0; i < NC_COUNT(measurements); i++) {
        names[i] = measurements[i].name;
        m = strcmp(names[i], kind) ? m : &measurements[i];
    }
    if (!m) {
        const char *near = nc_nearest(kind, names, NC_COUNT(names));
        return nc_cli_usage(c, e, "bench %s: no such measurement%s%s; " MEASUREMENTS " are", kind, near ? ", did you mean " : "", near ? near : "");
    }
    NC_TRY(read_options(c, kind, &t.o, e));
    if (m->config && !t.o.config && !t.folder && nc_file_exists(m->config))
        t.o.config = m->config;
    if (m->config && !t.o.config && !t.folder)
        return nc_cli_usage(c, e, "bench %s: --config FILE is needed (bench/configs has some)", kind);
    int status = m->run(&t, e);
    if (status == 0)
        nc_cli_print(nc_cli_has(c, "json") ? &t.json : &t.table);
    nc_buf_free(&t.table);
    nc_buf_free(&t.json);
    return status;
}

const nc_verb nc_verb_bench = { "bench", "roofline|gemm|attention|load|model|vision|train|tokenizer [FOLDER]", "measure, beside the limits of this machine",
    "share: operations of the linear parts and of attention / time / the peak measured in the run; decode_share: bytes of weights and cache read / time / the memory\n"
    "bandwidth measured in the run.",
    options, 1, 2, false, run };
