/* verb_help.c - the list of verbs, or one verb's page. */
#include "cli/cli.h"

static int run(nc_cli *c, nc_error *e)
{
    nc_buf b = { 0 };
    int count = 0;
    const nc_verb *const *verb = nc_verbs(&count);
    if (c->words) {
        const nc_verb *v = nc_verb_find(c->word[0]);
        if (!v)
            return nc_cli_usage(c, e, "help: %s: no such verb; see nunchi help", c->word[0]);
        nc_verb_describe(v, &b);
        nc_cli_print(&b);
        return 0;
    }
    nc_buf_adds(&b, "nunchi " NUNCHI_VERSION ": language and vision-language models, from a base checkpoint to a server, in one native program\n\nusage: nunchi VERB ...\n\n");
    for (int i = 0; i < count; i++) {
        nc_buf_adds(&b, "  ");
        nc_cli_pad(&b, verb[i]->name, 10);
        nc_buf_printf(&b, "  %s\n", verb[i]->summary);
    }
    nc_buf_adds(&b, "\nnunchi VERB --help says more. NUNCHI_THREADS, NUNCHI_CPU (scalar, avx2, avx512, avx512bf16, amx), NUNCHI_LOG=json and\n"
                    "NUNCHI_LOG_LEVEL=debug set threads, kernels and logging.\n");
    nc_cli_print(&b);
    return 0;
}

const nc_verb nc_verb_help = { "help", "[VERB]", "what there is, or one verb's page", NULL, NULL, 0, 1, false, run };
