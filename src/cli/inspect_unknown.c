/* inspect_unknown.c - a folder of an unknown family: the nearest known ones, and the keys and tensors that differ from the first. */
#include "cli/inspect_unknown.h"

#include "base/file.h"
#include "load/nearest.h"

enum { SHOWN = 24 };                 /* entries of a list; --json has all */

/* Names come from the files: what would steer a terminal is shown as '?'. */
static void add_name(nc_buf *b, const char *name, int width)
{
    nc_buf plain = { 0 };
    for (const char *p = name; *p; p++)
        nc_buf_addc(&plain, (unsigned char)*p < ' ' || *p == 127 ? '?' : *p);
    nc_cli_pad(b, plain.p ? plain.p : "", width);
    nc_buf_free(&plain);
}

static void keys(nc_buf *b, const char *title, const nc_json *list)
{
    int n = 0;
    if (!list || !list->count)
        return;
    nc_buf_printf(b, "%s\n", title);
    NC_JSON_EACH(v, list)
        if (n++ < SHOWN) {
            nc_buf_adds(b, "  ");
            add_name(b, nc_json_string(v, ""), 0);
            nc_buf_addc(b, '\n');
        }
    if (n > SHOWN)
        nc_buf_printf(b, "  and %d more\n", n - SHOWN);
}

static void tensors(nc_buf *b, const char *title, const nc_json *list)
{
    int n = 0;
    if (!list || !list->count)
        return;
    nc_buf_printf(b, "%s\n", title);
    NC_JSON_EACH(v, list) {
        const int64_t count = nc_json_int(nc_json_get(v, "tensors"), 1);
        const char *shape = nc_json_string(nc_json_get(v, "shape"), NULL), *expected = nc_json_string(nc_json_get(v, "expected"), NULL);
        if (n++ >= SHOWN)
            continue;
        nc_buf_adds(b, "  ");
        add_name(b, nc_json_string(nc_json_get(v, "name"), ""), 56);
        nc_buf_printf(b, " %s%s%s", shape ? shape : "", shape && expected ? ", expected " : "", expected ? expected : "");
        if (count > 1)
            nc_buf_printf(b, "  %lld of them", (long long)count);
        nc_buf_addc(b, '\n');
    }
    if (n > SHOWN)
        nc_buf_printf(b, "  and %d more\n", n - SHOWN);
}

static void as_text(nc_arena *a, const char *folder, const char *type, const nc_json *near, const char *without, nc_buf *b)
{
    const nc_json *best = near->first, *k = nc_json_get(best, "keys"), *t = nc_json_get(best, "tensors");
    const char *name = nc_json_string(nc_json_get(best, "family"), "");
    nc_buf_printf(b, "folder      %s\nmodel_type  ", folder);
    add_name(b, *type ? type : "none", 0);
    nc_buf_addc(b, '\n');
    NC_JSON_EACH(v, near)
        nc_buf_printf(b, "%s%s, %.0f %% alike\n", v == best ? "nearest     " : "then        ", nc_json_string(nc_json_get(v, "family"), ""), 100 * nc_json_double(nc_json_get(v, "score"), 0));
    if (nc_json_is(t, NC_JSON_OBJECT))
        nc_buf_printf(b, "tensors     %lld where %s has them\n", (long long)nc_json_int(nc_json_get(t, "alike"), 0), name);
    else
        nc_buf_printf(b, "tensors     not compared: %s\n", without ? without : "the sizes cannot be read from config.json");
    keys(b, nc_arena_printf(a, "keys of config.json that %s does not know", name), nc_json_get(k, "unknown"));
    keys(b, nc_arena_printf(a, "keys that %s needs", name), nc_json_get(k, "missing"));
    keys(b, nc_arena_printf(a, "settings that %s does not have", name), nc_json_get(k, "mistakes"));
    tensors(b, nc_arena_printf(a, "tensors that %s does not know", name), nc_json_get(t, "unknown"));
    tensors(b, nc_arena_printf(a, "tensors that %s needs", name), nc_json_get(t, "missing"));
    tensors(b, "tensors of another shape", nc_json_get(t, "shapes"));
}

static void as_json(nc_arena *a, const char *folder, const char *type, nc_json *near, nc_buf *b)
{
    nc_json *o = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, o, "folder", nc_json_new_string(a, nc_str_of(folder)));
    nc_json_set(a, o, "model_type", nc_json_new_string(a, nc_str_of(type)));
    nc_json_set(a, o, "family", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, o, "nearest", near);
    nc_json_write(b, o, 1);
    nc_buf_addc(b, '\n');
}

int nc_inspect_unknown(nc_cli *c, const char *folder, nc_error *e)
{
    const char *path = nc_path_join(c->arena, folder, "config.json");
    nc_json *config = NULL;
    nc_error ignored = { 0 }, none = { 0 };
    nc_safetensors *s = NULL;
    nc_buf b = { 0 };
    int count;
    if (!nc_file_exists(path) || nc_json_load(c->arena, path, &config, &ignored) < 0 || !nc_json_is(config, NC_JSON_OBJECT))
        return 0;                                        /* loading says what is wrong */
    const char *type = nc_json_string(nc_json_get(config, "model_type"), "");
    if (nc_family_find(type))
        return 0;
    const bool files = nc_safetensors_open(folder, &s, &none) == 0;
    nc_json *near = nc_nearest_families(c->arena, config, files ? s : NULL);
    if (files)
        nc_safetensors_close(s);
    nc_families(&count);
    if (nc_cli_has(c, "json"))
        as_json(c->arena, folder, type, near, &b);
    else
        as_text(c->arena, folder, type, near, files ? NULL : none.message, &b);
    nc_cli_print(&b);
    return nc_fail(e, NC_EUNSUPPORTED, "config.json: model_type \"%.100s\" is none of the %d families known here; nearest is %s", type, count,
                   nc_json_string(nc_json_get(near->first, "family"), ""));
}
