/* golden_model.c - golden/models: a folder is a case, checked as `nunchi verify` does; a family that is not known fails. Quantized storage is skipped by name. The table of
 * measured errors (docs/models.md) is made here.
 */
#include "cli/golden.h"
#include "cli/verify.h"

#include <math.h>

/* The reason why a folder is not for this release, or NULL. */
static const char *why_skipped(nc_arena *a, const nc_json *config)
{
    if (nc_json_get(config, "quantization_config"))
        return nc_arena_printf(a, "%s storage comes with a later release", nc_json_string(nc_json_path(config, "quantization_config.quant_method"), "quantized"));
    return NULL;
}

static const char *first_bad(const nc_verify *v)
{
    for (int i = 0; i < v->count; i++)
        if (!v->quantity[i].pass)
            return nc_arena_printf(v->arena, "%s: %.3g over %.3g", v->quantity[i].name, v->quantity[i].rel, v->quantity[i].limit);
    for (int i = 0; i < v->count; i++)
        if (v->quantity[i].note && !strcmp(v->quantity[i].note, "unchecked"))
            return nc_arena_printf(v->arena, "%s unchecked", v->quantity[i].name);
    return "nothing was checked";
}

/* ---- the table ---- */

void nc_golden_table_head(nc_buf *out)
{
    nc_buf_adds(out, "# Models, measured\n\nMade by `nunchi golden DIR --data DATA --table docs/models.md` over the reference folders; never by hand. Each figure is the largest error of its kind in f32, relative to the\n"
                     "largest magnitude of its tensor (gradients: and a thousandth of the largest of all), and the share of its limit in the last column is the worst of all quantities of the folder.\n"
                     "bf16: the error of a bf16 run over the reference's own, or the root mean square over the largest logit where the folder has none.\n\n"
                     "| folder | model_type | class | outputs | gradients | ten steps' losses, absolute | greedy text | cached = whole | bf16 | quantities | worst share |\n"
                     "|---|---|---|---|---|---|---|---|---|---|---|\n");
}

enum { OUTPUTS, GRADIENTS, STEPS, GREEDY, CACHED, BF16, COLUMNS };

static int column_of(const nc_quantity *q)
{
    const char *n = q->name;
    if (strstr(n, "bf16"))
        return BF16;
    if (nc_starts_with(n, "grad.") || nc_starts_with(n, "train.grad.") || nc_starts_with(n, "aux.grad."))
        return GRADIENTS;
    if (!strcmp(n, "adamw.losses"))
        return STEPS;
    if (!strcmp(n, "generate.new_ids"))
        return GREEDY;
    if (!strcmp(n, "generate.cached equals whole"))
        return CACHED;
    return nc_starts_with(n, "out.") || nc_starts_with(n, "hidden.") || nc_starts_with(n, "tower.") || !strcmp(n, "loss") ? OUTPUTS : COLUMNS;
}

static void table_row(nc_buf *out, const char *path, const nc_json *config, const nc_verify *v)
{
    double worst[COLUMNS] = { 0 };
    bool seen[COLUMNS] = { false };
    for (int i = 0; i < v->count; i++) {
        int k = column_of(&v->quantity[i]);
        if (k == COLUMNS || (v->quantity[i].note && !strcmp(v->quantity[i].note, "unchecked")))
            continue;
        seen[k] = true;
        worst[k] = fmax(worst[k], k == STEPS ? v->quantity[i].abs : v->quantity[i].rel);
    }
    nc_buf_printf(out, "| %s | %s | %s ", nc_path_base(path), nc_json_string(nc_json_get(config, "model_type"), ""), nc_json_string(nc_json_at(nc_json_get(config, "architectures"), 0), ""));
    for (int k = 0; k < COLUMNS; k++)
        if (!seen[k])
            nc_buf_adds(out, "| ");
        else if (k == GREEDY || k == CACHED)
            nc_buf_adds(out, worst[k] > 0 ? "| differs " : "| equal ");
        else
            nc_buf_printf(out, "| %.1e ", worst[k]);
    nc_buf_printf(out, "| %d | %.3f%s |\n", v->count, nc_verify_worst(v), v->passed ? "" : ", over");
}

void nc_golden_run_model(nc_golden_tally *t, const char *path, const char *folder)
{
    nc_arena *a = nc_arena_new();
    nc_json *config = NULL;
    nc_error e = { 0 };
    const char *reason = nc_json_load(a, nc_path_join(a, folder, "config.json"), &config, &e) == 0 ? why_skipped(a, config) : NULL;
    nc_verify v;
    if (reason) {
        nc_golden_line(t, NC_CASE_SKIPPED, path, "%s", reason);
        nc_arena_free(a);
        return;
    }
    int status = nc_verify_run(folder, t->data, t->pool, &v, &e);
    if (status < 0)
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", e.message);
    else if (v.passed)
        nc_golden_line(t, NC_CASE_OK, path, "%d quantities, worst %.3f of its limit", v.count, nc_verify_worst(&v));
    else
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", first_bad(&v));
    if (status == 0 && t->table)
        table_row(t->table, path, config, &v);
    nc_verify_free(&v);
    nc_arena_free(a);
}
