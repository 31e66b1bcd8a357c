/* verb_export.c - a model folder as a Hugging Face folder or as GGUF. */
#include "base/progress.h"
#include "cli/cli.h"
#include "load/export.h"
#include "quant/quantize.h"

static const nc_cli_option options[] = {
    { "to", "FORMAT", "hf (config, safetensors, tokenizer files) or gguf (model.gguf, mmproj.gguf and extra.gguf under llama.cpp's names)" },
    { "out", "DIR", "the folder to write" },
    { "dtype", "TYPE", "f32, bf16 or f16 (gguf: q8_0 and q4_0 too); as the folder has it" },
    { "adapter", "DIR", "hf: merge this PEFT adapter in" },
    { "shard-mb", "MB", "hf: largest file when tensors are laid out anew; 5000" },
    { NULL, NULL, NULL },
};

static void progress(void *context, const char *file, int tensor, int tensors)
{
    nc_progress_set(context, (double)tensor / (tensors ? tensors : 1), "%s", file);
}

static int to_hf(nc_cli *c, const char *out, nc_dtype dtype, nc_error *e)
{
    int64_t shard;
    uint64_t bytes = 0;
    char size[32];
    NC_TRY(nc_cli_int(c, "shard-mb", 1, 1000000, 5000, &shard, e));
    nc_pool *pool = nc_pool_new(0);
    int status = nc_export_hf(c->word[0], out, &(nc_export_options){ dtype, nc_cli_get(c, "adapter"), (uint64_t)shard * 1000000, pool }, &bytes, e);
    nc_pool_free(pool);
    if (status < 0)
        return status;
    nc_buf b = { 0 };
    nc_buf_printf(&b, "%s: %s of tensors\n", out, nc_human_bytes((double)bytes, size));
    nc_cli_print(&b);
    return 0;
}

static int to_gguf(nc_cli *c, const char *out, nc_dtype dtype, nc_error *e)
{
    nc_quantize_report r;
    char size[32];
    if (nc_cli_has(c, "adapter"))
        return nc_cli_usage(c, e, "export: --adapter goes with --to hf; export the merged folder as gguf after that");
    if (dtype == NC_DTYPES)
        NC_TRY(nc_export_dtype(c->word[0], &dtype, e));
    nc_quantize_options o = { .to = dtype, .pool = nc_pool_new(0), .progress = progress, .context = nc_progress_new("export", 1) };
    int status = nc_quantize(c->word[0], out, &o, &r, e);
    nc_progress_done(o.context, "%s", status < 0 ? "failed" : out);
    nc_pool_free(o.pool);
    if (status < 0)
        return status;
    nc_buf b = { 0 };
    nc_buf_printf(&b, "%s: %s of tensors\n", out, nc_human_bytes((double)r.bytes_after, size));
    nc_cli_print(&b);
    return 0;
}

static int run(nc_cli *c, nc_error *e)
{
    const char *to = nc_cli_get(c, "to"), *out = nc_cli_get(c, "out"), *type = nc_cli_get(c, "dtype");
    static const char *const names[] = { "f32", "bf16", "f16", "q8_0", "q4_0" };
    static const nc_dtype types[] = { NC_F32, NC_BF16, NC_F16, NC_Q8_0, NC_Q4_0 };
    nc_dtype dtype = NC_DTYPES;
    if (!to || !out)
        return nc_cli_usage(c, e, "export: --to hf|gguf and --out DIR are needed");
    const bool gguf = !strcmp(to, "gguf");
    if (!gguf && strcmp(to, "hf"))
        return nc_cli_usage(c, e, "export: --to %s: no such format here; hf and gguf are", to);
    for (int i = 0; type && i < (gguf ? 5 : 3); i++)
        if (!strcmp(names[i], type))
            dtype = types[i];
    if (type && dtype == NC_DTYPES)
        return nc_cli_usage(c, e, "export: --dtype %s: %s", type, gguf ? "f32, bf16, f16, q8_0 and q4_0 go with gguf" : "f32, bf16 and f16 go with hf");
    return gguf ? to_gguf(c, out, dtype, e) : to_hf(c, out, dtype, e);
}

const nc_verb nc_verb_export = { "export", "FOLDER", "a model folder as a Hugging Face folder or as GGUF",
    "nunchi export runs/x/model --to gguf --out x-gguf\nnunchi export base --to hf --adapter runs/x/adapter --out merged", options, 1, 1, false, run };
