/* verb_golden.c - walks a tree of reference data and runs every case it knows; a line for each. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/golden.h"

static const nc_cli_option options[] = {
    { "data", "DIR", "where some cases find pictures and tokenizer files" },
    { "only", "PATTERN", "cases whose path matches (models/*, tokenizers/bbpe-gpt2)" },
    { "table", "FILE", "the measured errors of every model folder as Markdown (docs/models.md)" },
    { "threads", "N", "threads, all CPUs by default" },
    { NULL, NULL, NULL },
};

void nc_golden_line(nc_golden_tally *t, int result, const char *path, const char *format, ...)
{
    static const char *const word[] = { "ok", "not ok", "skip" };
    char text[900];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    printf("%s %s %s\n", word[result], path, text);
    fflush(stdout);
    t->passed += result == NC_CASE_OK;
    t->failed += result == NC_CASE_FAILED;
    t->skipped += result == NC_CASE_SKIPPED;
}

typedef void case_fn(nc_golden_tally *t, const char *path, const char *folder);
static const struct kind { const char *name; case_fn *run; bool whole; } kinds[] = {   /* whole: the kind's folder is one case, else each folder in it */
    { "models", nc_golden_run_model, false },
    { "tokenizers", nc_golden_run_tokenizer, false },
    { "templates", nc_golden_run_templates, true },
    { "processors", nc_golden_run_processor, false },
    { "metrics", nc_golden_run_metrics, true },
    { "quant", nc_golden_run_quant, false },
    { "train", nc_golden_run_train, false },
    { "sampling", nc_golden_run_sampling, true },
};

static const struct kind *kind_of(const char *name)
{
    for (int i = 0; i < NC_COUNT(kinds); i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

static bool wanted(const char *only, const char *path) { return !only || nc_glob(only, path); }

static int run_kind(nc_cli *c, nc_golden_tally *t, const char *name, const char *folder, const char *only, nc_error *e)
{
    const struct kind *kind = kind_of(name);
    char **names;
    int count = 0, status = 0;
    if (kind && kind->whole) {
        if (wanted(only, name) || (only && nc_starts_with(only, name)))
            kind->run(t, name, folder);
        return 0;
    }
    if (!kind && nc_file_exists(nc_path_join(c->arena, folder, "golden.json"))) {
        if (wanted(only, name))
            nc_golden_line(t, NC_CASE_SKIPPED, name, "this kind comes with a later release");
        return 0;
    }
    status = nc_list_dir(c->arena, folder, &names, &count, e);
    for (int i = 0; status == 0 && i < count; i++) {
        const char *path = nc_arena_printf(c->arena, "%s/%s", name, names[i]), *below = nc_path_join(c->arena, folder, names[i]);
        if (!nc_is_dir(below) || !wanted(only, path))
            continue;
        if (kind)
            kind->run(t, path, below);
        else
            nc_golden_line(t, NC_CASE_SKIPPED, path, "this kind comes with a later release");
    }
    return status;
}

static int run(nc_cli *c, nc_error *e)
{
    const char *tree = c->word[0], *only = nc_cli_get(c, "only");
    char **names;
    int count = 0, status = 0;
    int64_t threads;
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    if (!nc_is_dir(tree))
        return nc_cli_usage(c, e, "golden: %s: no such folder", tree);
    NC_TRY(nc_list_dir(c->arena, tree, &names, &count, e));
    nc_buf table = { 0 };
    nc_golden_tally t = { .data = nc_cli_get(c, "data"), .pool = nc_pool_new((int)threads), .table = nc_cli_get(c, "table") ? &table : NULL };
    if (t.table)
        nc_golden_table_head(t.table);
    for (int i = 0; status == 0 && i < count; i++) {
        const char *folder = nc_path_join(c->arena, tree, names[i]);
        if (nc_is_dir(folder) && strcmp(names[i], "data"))
            status = run_kind(c, &t, names[i], folder, only, e);
    }
    nc_pool_free(t.pool);
    if (status == 0 && t.table)
        status = nc_file_write(nc_cli_get(c, "table"), table.p, table.n, e);
    nc_buf_free(&table);
    if (status < 0)
        return status;
    printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped);
    return t.failed ? 1 : 0;
}

const nc_verb nc_verb_golden = { "golden", "DIR", "run every case of a tree of reference data",
    "DIR holds models/, tokenizers/, templates/, processors/, metrics/, quant/ ... One line a case: ok, not ok or skip, its path below DIR, and the worst\nerror or the reason. Exit code 1 when one failed.",
    options, 1, 1, false, run };
