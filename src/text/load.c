/* load.c - a tokenizer's folder: tokenizer.json with the files that stand beside it. */
#include <string.h>

#include "base/file.h"
#include "text/spm.h"
#include "text/tokenizer_internal.h"
#include "text/wordlists.h"

#define FILE_LIMIT ((size_t)256 << 20)

/* The tree of folder/name, NULL when the file is absent. */
static int optional(nc_arena *a, const char *folder, const char *name, nc_json **out, nc_error *e)
{
    const char *path = nc_path_join(a, folder, name);
    *out = NULL;
    return nc_file_exists(path) ? nc_json_load(a, path, out, e) : NC_OK;
}

static int read_template(nc_tokenizer *t, const char *path, const char *name, nc_error *e)
{
    nc_buf b = { 0 };
    if (!nc_file_exists(path))
        return NC_OK;
    int status = nc_file_read(path, (size_t)8 << 20, &b, e);
    if (status >= 0)
        nc_tokenizer_keep_template(t, name, (nc_str){ b.p ? b.p : "", b.n });
    nc_buf_free(&b);
    return status;
}

/* chat_template.json (transformers 4's processors), chat_template.jinja and additional_chat_templates/NAME.jinja (transformers 5). */
static int read_templates(nc_arena *a, nc_tokenizer *t, const char *folder, nc_error *e)
{
    nc_json *tree;
    NC_TRY(optional(a, folder, "chat_template.json", &tree, e));
    const nc_json *text = nc_json_get(tree, "chat_template");
    if (nc_json_is(text, NC_JSON_STRING))
        nc_tokenizer_keep_template(t, "default", text->text);
    NC_TRY(read_template(t, nc_path_join(a, folder, "chat_template.jinja"), "default", e));
    const char *more = nc_path_join(a, folder, "additional_chat_templates");
    char **names;
    int count = 0, status = NC_OK;
    if (nc_is_dir(more))
        NC_TRY(nc_list_dir(a, more, &names, &count, e));
    for (int i = 0; i < count && status >= 0; i++)
        if (nc_ends_with(names[i], ".jinja"))
            status = read_template(t, nc_path_join(a, more, names[i]), nc_arena_strndup(a, names[i], strlen(names[i]) - 6), e);
    return status;
}

/* The tree of a file by its name: tokenizer.json as it is, anything else converted. */
static int read_tree(nc_arena *a, const char *path, const nc_json *config, nc_json **tree, nc_error *e)
{
    if (nc_file_size(path) > (int64_t)FILE_LIMIT)
        return nc_fail(e, NC_ELIMIT, "%s: larger than 256 MiB, no tokenizer is", path);
    if (nc_ends_with(path, ".json") && !nc_ends_with(path, "vocab.json"))
        return nc_json_load(a, path, tree, e);
    if (nc_ends_with(path, "vocab.json") || nc_ends_with(path, "merges.txt") || nc_ends_with(path, "vocab.txt"))
        return nc_wordlists_load(a, path, config, tree, e);
    nc_buf bytes = { 0 };
    int status = nc_file_read(path, FILE_LIMIT, &bytes, e);
    nc_str text = { bytes.p ? bytes.p : "", bytes.n };
    bool ranks = status >= 0 && nc_ranks_look_like(text);
    if (status >= 0)
        status = ranks ? nc_ranks_parse(a, text, path, config, tree, e) : nc_spm_parse(a, text, path, tree, e);
    if (status >= 0 && !ranks)
        nc_spm_class(a, *tree, config);
    nc_buf_free(&bytes);
    return status;
}

/* add_bos_token and add_eos_token of tokenizer_config.json decide which ends of the model's template stay. */
static void apply_ends(nc_arena *a, nc_json *tree, const nc_json *config)
{
    const nc_json *special = nc_json_get(tree, "special"), *post = nc_json_get(tree, "post_processor");
    const char *class = nc_json_string(nc_json_get(config, "tokenizer_class"), "");
    bool llama = nc_starts_with(class, "Llama") || nc_starts_with(class, "CodeLlama") || nc_starts_with(class, "Gemma");
    bool bos = nc_json_bool(nc_json_get(config, "add_bos_token"), !nc_starts_with(class, "T5") && !nc_starts_with(class, "MT5"));
    bool eos = nc_json_bool(nc_json_get(config, "add_eos_token"), !llama);
    for (int pass = 0; config && special && post && pass < 2; pass++) {
        const nc_json *list = nc_json_get(post, pass ? "pair" : "single");
        nc_json *kept = nc_json_new(a, NC_JSON_ARRAY);
        NC_JSON_EACH(item, list) {
            const char *id = nc_json_string(nc_json_path(item, "SpecialToken.id"), "");
            bool drop = (!bos && *id && !strcmp(id, nc_json_string(nc_json_get(special, "bos_token"), ""))) ||
                        (!eos && *id && !strcmp(id, nc_json_string(nc_json_get(special, "eos_token"), "")));
            if (!drop)
                nc_json_append(kept, nc_json_clone(a, item));
        }
        nc_json_set(a, (nc_json *)(uintptr_t)post, pass ? "pair" : "single", kept);
    }
}

/* The file a folder's tokenizer is in, best first. */
static const char *find_file(nc_arena *a, const char *folder)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "qwen.tiktoken", "tiktoken.model",
                                         "ranks.tiktoken", "merges.txt", "vocab.txt" };
    for (int i = 0; i < NC_COUNT(names); i++) {
        const char *path = nc_path_join(a, folder, names[i]);
        if (nc_file_exists(path))
            return path;
    }
    return NULL;
}

int nc_tokenizer_tree(nc_arena *a, const char *folder, nc_json **tree, nc_error *e)
{
    const char *path = find_file(a, folder);
    nc_json *config;
    *tree = NULL;
    if (!path)
        return NC_OK;
    NC_TRY(optional(a, folder, "tokenizer_config.json", &config, e));
    return read_tree(a, path, config, tree, e);
}

static int load(nc_arena *a, const char *where, const nc_json *given, nc_tokenizer **out, nc_error *e)
{
    bool is_folder = nc_is_dir(where);
    const char *folder = is_folder ? where : nc_path_dir(a, where);
    const char *path = is_folder ? find_file(a, where) : where;
    nc_json *tree, *config, *map;
    if (!path)
        return nc_fail(e, NC_ENOTFOUND, "%s: has none of tokenizer.json, tokenizer.model, spiece.model, *.tiktoken, merges.txt, vocab.txt; copy the tokenizer's files beside config.json", where);
    NC_TRY(optional(a, folder, "tokenizer_config.json", &config, e));
    NC_TRY(optional(a, folder, "special_tokens_map.json", &map, e));
    if (given)
        config = nc_json_clone(a, given);
    NC_TRY(read_tree(a, path, config, &tree, e));
    apply_ends(a, tree, config);
    nc_tokenizer *t;
    NC_TRY(nc_tokenizer_from_json(tree, config, path, &t, e));
    if (map)
        nc_tokenizer_read_config(t, map);
    if (nc_json_get(tree, "special"))
        nc_tokenizer_read_config(t, nc_json_get(tree, "special"));
    int status = read_templates(a, t, folder, e);
    if (status < 0) {
        nc_tokenizer_free(t);
        return status;
    }
    *out = t;
    return NC_OK;
}

int nc_tokenizer_load_as(const char *folder_or_file, const nc_json *config, nc_tokenizer **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    *out = NULL;
    int status = load(a, folder_or_file, config, out, e);
    nc_arena_free(a);
    return status;
}

int nc_tokenizer_load(const char *folder_or_file, nc_tokenizer **out, nc_error *e)
{
    return nc_tokenizer_load_as(folder_or_file, NULL, out, e);
}
