/* verb_embed.c - texts to vectors: a line in, a JSON line out. */
#include <stdlib.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "infer/embed.h"

static const nc_cli_option options[] = {
    { "prompt", "TEXT", "put before every text" },
    { "prompt-name", "NAME", "a prompt of config_sentence_transformers.json (query, passage ...)" },
    { "pooling", "MODE", "cls, mean, max, mean_sqrt_len_tokens, weightedmean or lasttoken in place of the folder's" },
    { "normalize", NULL, "vectors of length 1, whatever the folder says" },
    { "max-tokens", "N", "of a text; the folder's" },
    { "batch", "N", "lines read ahead at most, 64 by default" },
    { "dtype", "TYPE", "f32 (the default) or bf16" },
    { "threads", "N", "threads, all CPUs by default" },
    { NULL, NULL, NULL },
};

static int print_vectors(nc_embedder *x, const nc_str *texts, int count, int64_t first, nc_error *e)
{
    const int width = nc_embedder_width(x);
    float *v = nc_xmalloc(sizeof *v * (size_t)count * (size_t)width + 1);
    int *tokens = nc_xmalloc(sizeof *tokens * ((size_t)count + 1));
    int status = nc_embedder_run(x, texts, count, v, tokens, e);
    nc_buf b = { 0 };
    for (int i = 0; i < count && status == 0; i++) {
        nc_buf_printf(&b, "{\"index\": %lld, \"tokens\": %d, \"embedding\": [", (long long)first + i, tokens[i]);
        for (int j = 0; j < width; j++)
            nc_buf_printf(&b, "%s%.9g", j ? ", " : "", (double)v[(int64_t)i * width + j]);
        nc_buf_adds(&b, "]}\n");
    }
    nc_cli_print(&b);
    free(tokens);
    free(v);
    return status;
}

static int embed_lines(void *context, const nc_str *lines, int count, int64_t first, nc_error *e) { return print_vectors(context, lines, count, first, e); }

static int run(nc_cli *c, nc_error *e)
{
    const char *dtype = nc_cli_get(c, "dtype");
    nc_embed_options o = { .compute = NC_F32, .pooling = nc_cli_get(c, "pooling"), .normalize = nc_cli_has(c, "normalize"), .prompt_name = nc_cli_get(c, "prompt-name"),
                           .prompt = nc_cli_get(c, "prompt") };
    int64_t max_tokens, batch, threads;
    nc_embedder *x = NULL;
    NC_TRY(nc_cli_int(c, "max-tokens", 1, 1 << 24, 0, &max_tokens, e));
    NC_TRY(nc_cli_int(c, "batch", 1, 1 << 16, 64, &batch, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    if (dtype && (nc_dtype_parse(dtype, &o.compute) < 0 || (o.compute != NC_F32 && o.compute != NC_BF16)))
        return nc_cli_usage(c, e, "--dtype %s: f32 and bf16 are known", dtype);
    o.max_tokens = (int)max_tokens;
    o.threads = (int)threads;
    NC_TRY(nc_embedder_open(c->word[0], &o, &x, e));
    nc_loaded *l = nc_embedder_loaded(x);
    if (l->warnings.n)
        nc_warn("%s: %.*s", l->folder, (int)strcspn(l->warnings.p, "\n"), l->warnings.p);
    int status;
    if (c->words > 1) {
        nc_str *texts = NC_NEW_ARRAY(c->arena, nc_str, c->words);
        for (int i = 1; i < c->words; i++)
            texts[i - 1] = nc_str_of(c->word[i]);
        status = print_vectors(x, texts, c->words - 1, 0, e);
    } else
        status = nc_cli_lines((int)batch, embed_lines, x, e);
    nc_embedder_free(x);
    return status;
}

const nc_verb nc_verb_embed = { "embed", "FOLDER [TEXT...]", "texts to vectors: lines of stdin (or words) to lines of JSON",
    "FOLDER is one of sentence-transformers (modules.json), a plain encoder or decoder (the mean of its rows, or --pooling), or CLIP and SigLIP (their text side).\n"
    "Each line gives {\"index\", \"tokens\", \"embedding\"}. A text's vector does not depend on the lines around it.",
    options, 1, 65536, false, run };
