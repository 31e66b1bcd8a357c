/* verb_verify.c - a checkpoint against the reference outputs kept beside it, as a table or as JSON. */
#include <math.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/verify.h"

static const nc_cli_option options[] = {
    { "data", "DIR", "where cases find pictures that lie outside the folder" },
    { "json", NULL, "{folder, quantities: [{name, abs, rel, limit, pass}], unchecked: [names], passed}" },
    { "threads", "N", "threads, all CPUs by default" },
    { NULL, NULL, NULL },
};

static bool is_unchecked(const nc_quantity *q) { return q->note && !strcmp(q->note, "unchecked"); }
static bool is_skipped(const nc_quantity *q) { return q->note && nc_starts_with(q->note, "skipped"); }

static void as_json(const nc_verify *v, nc_buf *b)
{
    bool first = true;
    nc_buf_adds(b, "{\"folder\": ");
    nc_buf_json_string(b, nc_str_of(v->folder));
    nc_buf_adds(b, ", \"quantities\": [");
    for (int i = 0; i < v->count; i++) {
        const nc_quantity *q = &v->quantity[i];
        if (is_unchecked(q))
            continue;
        nc_buf_adds(b, first ? "\n  {\"name\": " : ",\n  {\"name\": ");
        first = false;
        nc_buf_json_string(b, nc_str_of(q->name));
        nc_buf_adds(b, ", \"abs\": ");
        nc_buf_json_double(b, q->abs);
        nc_buf_adds(b, ", \"rel\": ");
        nc_buf_json_double(b, q->rel);
        nc_buf_adds(b, ", \"limit\": ");
        nc_buf_json_double(b, q->limit);
        nc_buf_printf(b, ", \"pass\": %s", q->pass ? "true" : "false");
        if (q->note) {
            nc_buf_adds(b, ", \"note\": ");
            nc_buf_json_string(b, nc_str_of(q->note));
        }
        nc_buf_addc(b, '}');
    }
    nc_buf_adds(b, "],\n \"unchecked\": [");
    first = true;
    for (int i = 0; i < v->count; i++)
        if (is_unchecked(&v->quantity[i])) {
            nc_buf_adds(b, first ? "" : ", ");
            nc_buf_json_string(b, nc_str_of(v->quantity[i].name));
            first = false;
        }
    nc_buf_printf(b, "],\n \"passed\": %s}\n", v->passed ? "true" : "false");
}

static void as_table(const nc_verify *v, nc_buf *b)
{
    int width = 8, over = 0;
    for (int i = 0; i < v->count; i++)
        width = nc_cli_columns(v->quantity[i].name) > width ? nc_cli_columns(v->quantity[i].name) : width;
    nc_cli_pad(b, "quantity", width);
    nc_buf_adds(b, "    worst abs    worst rel        limit\n");
    for (int i = 0; i < v->count; i++) {
        const nc_quantity *q = &v->quantity[i];
        nc_cli_pad(b, q->name, width);
        if (is_unchecked(q) || is_skipped(q)) {
            nc_buf_printf(b, "  %s\n", q->note);
            continue;
        }
        nc_buf_printf(b, "  %11.3e  %11.3e  %11.3e  %s%s%s\n", q->abs, q->rel, q->limit, q->pass ? "ok" : "OVER", q->note ? "  " : "", q->note ? q->note : "");
        over += !q->pass;
    }
    nc_buf_printf(b, "%s: %d quantities, %d over, %d unchecked: %s\n", v->folder, v->count - v->unchecked, over, v->unchecked, v->passed ? "passed" : "FAILED");
}

static int run(nc_cli *c, nc_error *e)
{
    int64_t threads;
    const char *folder;
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    if (nc_load_resolve(c->arena, c->word[0], &folder, e) < 0) {
        c->usage = true;
        return e->code;
    }
    const char *config = nc_path_join(c->arena, folder, "config.json"), *gguf = nc_path_join(c->arena, folder, "model.gguf");
    if (nc_is_dir(folder) && !nc_file_exists(config) && !nc_file_exists(gguf))
        return nc_cli_usage(c, e, "%s: no config.json; this is no model folder", folder);
    nc_pool *pool = nc_pool_new((int)threads);
    nc_verify v;
    nc_buf b = { 0 };
    int status = nc_verify_run(folder, nc_cli_get(c, "data"), pool, &v, e);
    if (status == 0) {
        if (nc_cli_has(c, "json"))
            as_json(&v, &b);
        else
            as_table(&v, &b);
        status = v.passed ? 0 : 1;
        nc_cli_print(&b);
    }
    nc_verify_free(&v);
    nc_pool_free(pool);
    return status;
}

const nc_verb nc_verb_verify = { "verify", "FOLDER", "run the reference outputs kept beside a checkpoint and print the errors",
    "Every tensor of FOLDER/golden.safetensors is an input, a check or unchecked. Exit code 1 when a check is over its limit or a tensor unchecked,\n2 when FOLDER is no model.",
    options, 1, 1, false, run };
