/* load.c - a tokenizer's folder: tokenizer.json with the files that stand beside it. */
#include <string.h>

#include "base/file.h"
#include "text/tokenizer_internal.h"

#define FILE_LIMIT ((size_t)256 << 20)

/* The tree of folder/name, NULL when the file is absent. */
static int optional(nc_arena *a, const char *folder, const char *name, nc_json **out, nc_error *e)
{
    const char *path = nc_path_join(a, folder, name);
    *out = NULL;
    return nc_file_exists(path) ? nc_json_load(a, path, out, e) : NC_OK;
}

static int read_templates(nc_arena *a, nc_tokenizer *t, const char *folder, nc_error *e)
{
    nc_json *tree;
    NC_TRY(optional(a, folder, "chat_template.json", &tree, e));
    const nc_json *text = nc_json_get(tree, "chat_template");
    if (nc_json_is(text, NC_JSON_STRING))
        nc_tokenizer_keep_template(t, "default", text->text);
    const char *path = nc_path_join(a, folder, "chat_template.jinja");
    if (!nc_file_exists(path))
        return NC_OK;
    nc_buf b = { 0 };
    int status = nc_file_read(path, (size_t)8 << 20, &b, e);
    if (status >= 0)
        nc_tokenizer_keep_template(t, "default", (nc_str){ b.p ? b.p : "", b.n });
    nc_buf_free(&b);
    return status;
}

static int load(nc_arena *a, const char *where, nc_tokenizer **out, nc_error *e)
{
    bool is_folder = nc_is_dir(where);
    const char *folder = is_folder ? where : nc_path_dir(a, where);
    const char *path = is_folder ? nc_path_join(a, where, "tokenizer.json") : where;
    nc_json *tree, *config, *map;
    if (is_folder && !nc_file_exists(path))
        return nc_fail(e, NC_ENOTFOUND, "%s: has no tokenizer.json; convert its tokenizer with transformers' save_pretrained", where);
    if (nc_file_size(path) > (int64_t)FILE_LIMIT)
        return nc_fail(e, NC_ELIMIT, "%s: larger than 256 MiB, no tokenizer is", path);
    NC_TRY(nc_json_load(a, path, &tree, e));
    NC_TRY(optional(a, folder, "tokenizer_config.json", &config, e));
    NC_TRY(optional(a, folder, "special_tokens_map.json", &map, e));
    nc_tokenizer *t;
    NC_TRY(nc_tokenizer_from_json(tree, config, path, &t, e));
    if (map)
        nc_tokenizer_read_config(t, map);
    int status = read_templates(a, t, folder, e);
    if (status < 0) {
        nc_tokenizer_free(t);
        return status;
    }
    *out = t;
    return NC_OK;
}

int nc_tokenizer_load(const char *folder_or_file, nc_tokenizer **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    *out = NULL;
    int status = load(a, folder_or_file, out, e);
    nc_arena_free(a);
    return status;
}
