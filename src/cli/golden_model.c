/* golden_model.c - golden/models: a folder is a case, checked as `nunchi verify` does. Families and storage that are not there yet are skipped by name. */
#include "cli/golden.h"
#include "cli/verify.h"

/* The reason why a folder is not for this release, or NULL. */
static const char *why_skipped(nc_arena *a, const char *folder)
{
    nc_json *config = NULL;
    nc_error e = { 0 };
    if (nc_json_load(a, nc_path_join(a, folder, "config.json"), &config, &e) < 0)
        return NULL;
    const char *type = nc_json_string(nc_json_get(config, "model_type"), "");
    if (!nc_family_find(type))
        return nc_arena_printf(a, "the family %s comes with a later release", type);
    if (nc_json_get(config, "quantization_config"))
        return nc_arena_printf(a, "%s storage comes with a later release", nc_json_string(nc_json_path(config, "quantization_config.quant_method"), "quantized"));
    static const char *const parts[] = { "vision_config", "text_config" };
    for (int i = 0; i < NC_COUNT(parts); i++) {
        const char *part = nc_json_string(nc_json_get(nc_json_get(config, parts[i]), "model_type"), NULL);
        if (part && !nc_family_find(part))
            return nc_arena_printf(a, "the family %s (%s) comes with a later release", part, parts[i]);
    }
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

void nc_golden_run_model(nc_golden_tally *t, const char *path, const char *folder)
{
    nc_arena *a = nc_arena_new();
    const char *reason = why_skipped(a, folder);
    nc_error e = { 0 };
    nc_verify v;
    if (reason) {
        nc_golden_line(t, NC_CASE_SKIPPED, path, "%s", reason);
        nc_arena_free(a);
        return;
    }
    int status = nc_verify_run(folder, t->data, t->pool, &v, &e);
    if (status < 0)
        nc_golden_line(t, status == NC_EUNSUPPORTED ? NC_CASE_SKIPPED : NC_CASE_FAILED, path, "%s", e.message);
    else if (v.passed)
        nc_golden_line(t, NC_CASE_OK, path, "%d quantities, worst %.3f of its limit", v.count, nc_verify_worst(&v));
    else
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", first_bad(&v));
    nc_verify_free(&v);
    nc_arena_free(a);
}
