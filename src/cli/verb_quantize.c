/* verb_quantize.c - a model folder in fewer bits. */
#include "base/progress.h"
#include "cli/cli.h"
#include "quant/quantize.h"

static const nc_cli_option options[] = {
    { "to", "TYPE", "q8_0, q4_0, bf16, f16 or f32" },
    { "out", "DIR", "the folder to write" },
    { "json", NULL, "the summary as one object" },
    { NULL, NULL, NULL },
};

static void progress(void *context, const char *file, int tensor, int tensors)
{
    nc_progress_set(context, (double)tensor / (tensors ? tensors : 1), "%s", file);
}

static int run(nc_cli *c, nc_error *e)
{
    const char *to = nc_cli_get(c, "to"), *out = nc_cli_get(c, "out");
    static const char *const names[] = { "q8_0", "q4_0", "bf16", "f16", "f32" };
    static const nc_dtype types[] = { NC_Q8_0, NC_Q4_0, NC_BF16, NC_F16, NC_F32 };
    nc_quantize_options o = { .to = NC_DTYPES };
    if (!to || !out)
        return nc_cli_usage(c, e, "quantize: --to TYPE and --out DIR are needed");
    for (int i = 0; i < NC_COUNT(names); i++)
        if (!strcmp(names[i], to))
            o.to = types[i];
    if (o.to == NC_DTYPES) {
        const char *near = nc_nearest(to, names, NC_COUNT(names));
        return nc_cli_usage(c, e, "quantize: --to %s: no such type here%s%s; q8_0, q4_0, bf16, f16 and f32 are", to, near ? ", did you mean " : "", near ? near : "");
    }
    nc_quantize_report r;
    o.pool = nc_pool_new(0);
    o.progress = progress;
    o.context = nc_progress_new("quantize", 1);
    int status = nc_quantize(c->word[0], out, &o, &r, e);
    nc_progress_done(o.context, "%s", status < 0 ? "failed" : out);
    nc_pool_free(o.pool);
    if (status < 0)
        return status;
    char before[32], after[32];
    nc_buf b = { 0 };
    if (nc_cli_has(c, "json"))
        nc_buf_printf(&b, "{\"out\": \"%s\", \"parameters\": %llu, \"quantized\": %llu, \"bytes_before\": %llu, \"bytes_after\": %llu, \"relative_error\": %.6g}\n", out, (unsigned long long)r.values,
                      (unsigned long long)r.quantized, (unsigned long long)r.bytes_before, (unsigned long long)r.bytes_after, r.error);
    else
        nc_buf_printf(&b, "%s: %s of tensors, from %s; %.1f %% of the parameters in %s, relative error of the products' weights %.2e\n", out, nc_human_bytes((double)r.bytes_after, after),
                      nc_human_bytes((double)r.bytes_before, before), 100.0 * (double)r.quantized / (double)r.values, to, r.error);
    nc_cli_print(&b);
    return 0;
}

const nc_verb nc_verb_quantize = { "quantize", "FOLDER", "a model in fewer bits, under llama.cpp's names",
    "Writes config, tokenizer and processor files, model.gguf (the decoder or encoder), mmproj.gguf (tower and projector) and\n"
    "extra.gguf (what llama.cpp has no tensor for).", options, 1, 1, false, run };
