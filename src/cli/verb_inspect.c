/* verb_inspect.c - what a folder holds: config, parameters, tensors with dtypes and sizes, tokenizer, template, processors. */
#include <stdlib.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/inspect_unknown.h"
#include "formats/gguf.h"
#include "load/gguf_names.h"
#include "load/load.h"

static const nc_cli_option options[] = {
    { "json", NULL, "everything as one object" },
    { "tensors", NULL, "list every tensor" },
    { NULL, NULL, NULL },
};

typedef struct tensor { const char *file, *name, *type; nc_shape shape; uint64_t bytes; } tensor;
typedef struct tensors { tensor *p; int n, capacity; } tensors;

static void add(tensors *t, const char *file, const char *name, const char *type, nc_shape shape, uint64_t bytes)
{
    if (t->n == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 256;
        t->p = nc_xrealloc(t->p, sizeof *t->p * (size_t)t->capacity);
    }
    t->p[t->n++] = (tensor){ file, name, type, shape, bytes };
}

static int list_gguf(nc_arena *a, const char *folder, const char *file, tensors *out, nc_error *e)
{
    nc_gguf *g = NULL;
    const char *path = nc_path_join(a, folder, file);
    if (!nc_file_exists(path))
        return 0;
    NC_TRY(nc_gguf_open(path, &g, e));
    for (int i = 0; i < nc_gguf_count(g); i++) {
        const nc_stored *s = nc_gguf_at(g, i);
        add(out, file, nc_arena_strdup(a, s->name), nc_gguf_tensor_type(g, s)->name, s->shape, s->bytes);
    }
    nc_gguf_close(g);
    return 0;
}

static int list_safetensors(nc_arena *a, const char *folder, tensors *out, nc_error *e)
{
    nc_safetensors *s = NULL;
    nc_error none = { 0 };
    int status = nc_safetensors_open(folder, &s, &none);
    if (status == NC_ENOTFOUND)
        return 0;
    if (status < 0) {
        if (e)
            *e = none;
        return status;
    }
    for (int i = 0; i < nc_safetensors_count(s); i++) {
        const nc_stored *t = nc_safetensors_at(s, i);
        add(out, nc_arena_strdup(a, nc_path_base(nc_safetensors_file(s, t->shard))), nc_arena_strdup(a, t->name), nc_dtype_name(t->dtype), t->shape, t->bytes);
    }
    nc_safetensors_close(s);
    return 0;
}

static void shape_text(nc_buf *b, const nc_shape *s)
{
    nc_buf_addc(b, '[');
    for (int i = 0; i < s->rank; i++)
        nc_buf_printf(b, "%s%lld", i ? ", " : "", (long long)s->dim[i]);
    nc_buf_addc(b, ']');
}

typedef struct total { const char *type; uint64_t bytes, elements; int count; } total;

static int totals(const tensors *t, total *out, int most)
{
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        int k = 0;
        while (k < n && strcmp(out[k].type, t->p[i].type))
            k++;
        if (k == most)
            continue;
        if (k == n)
            out[n++] = (total){ .type = t->p[i].type };
        out[k].count++;
        out[k].bytes += t->p[i].bytes;
        out[k].elements += (uint64_t)nc_shape_count(&t->p[i].shape);
    }
    return n;
}

static uint64_t bytes_of(const tensors *t)
{
    uint64_t sum = 0;
    for (int i = 0; i < t->n; i++)
        sum += t->p[i].bytes;
    return sum;
}

static void front_json(nc_arena *a, nc_json *o, const nc_loaded *l)
{
    if (l->tokenizer) {
        nc_json *t = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, t, "vocab_size", nc_json_new_int(a, nc_tokenizer_vocab_size(l->tokenizer)));
        static const char *const kinds[] = { "bos", "eos", "pad", "unk" };
        for (int i = 0; i < NC_COUNT(kinds); i++)
            if (nc_tokenizer_special(l->tokenizer, kinds[i]))
                nc_json_set(a, t, kinds[i], nc_json_new_string(a, nc_str_of(nc_tokenizer_special(l->tokenizer, kinds[i]))));
        const char *chat = nc_tokenizer_chat_template(l->tokenizer, NULL);
        nc_json_set(a, t, "chat_template", chat ? nc_json_new_string(a, nc_str_of(chat)) : nc_json_new(a, NC_JSON_NULL));
        nc_json_set(a, o, "tokenizer", t);
    }
    if (l->image)
        nc_json_set(a, o, "image_processor", nc_json_new_string(a, nc_str_of(nc_processor_class(l->image))));
    if (l->video)
        nc_json_set(a, o, "video_processor", nc_json_new_string(a, nc_str_of(nc_processor_class(l->video))));
}

static void as_json(nc_arena *a, const nc_loaded *l, const tensors *t, nc_buf *b)
{
    nc_json *o = nc_json_new(a, NC_JSON_OBJECT), *list = nc_json_new(a, NC_JSON_ARRAY), *types = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, o, "folder", nc_json_new_string(a, nc_str_of(l->folder)));
    nc_json_set(a, o, "family", nc_json_new_string(a, nc_str_of(l->model->family->name)));
    nc_json_set(a, o, "parameters", nc_json_new_int(a, nc_model_parameters(l->model)));
    nc_json_set(a, o, "bytes", nc_json_new_int(a, (int64_t)bytes_of(t)));
    total sums[32];
    int n = totals(t, sums, NC_COUNT(sums));
    for (int i = 0; i < n; i++) {
        nc_json *x = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, x, "tensors", nc_json_new_int(a, sums[i].count));
        nc_json_set(a, x, "elements", nc_json_new_int(a, (int64_t)sums[i].elements));
        nc_json_set(a, x, "bytes", nc_json_new_int(a, (int64_t)sums[i].bytes));
        nc_json_set(a, types, sums[i].type, x);
    }
    nc_json_set(a, o, "dtypes", types);
    nc_json_set(a, o, "config", nc_json_clone(a, l->config));
    front_json(a, o, l);
    for (int i = 0; i < t->n; i++) {
        nc_json *x = nc_json_new(a, NC_JSON_OBJECT), *shape = nc_json_new(a, NC_JSON_ARRAY);
        for (int d = 0; d < t->p[i].shape.rank; d++)
            nc_json_append(shape, nc_json_new_int(a, t->p[i].shape.dim[d]));
        nc_json_set(a, x, "name", nc_json_new_string(a, nc_str_of(t->p[i].name)));
        nc_json_set(a, x, "dtype", nc_json_new_string(a, nc_str_of(t->p[i].type)));
        nc_json_set(a, x, "shape", shape);
        nc_json_set(a, x, "bytes", nc_json_new_int(a, (int64_t)t->p[i].bytes));
        nc_json_set(a, x, "file", nc_json_new_string(a, nc_str_of(t->p[i].file)));
        nc_json_append(list, x);
    }
    nc_json_set(a, o, "tensors", list);
    nc_json_write(b, o, 1);
    nc_buf_addc(b, '\n');
}

static void config_lines(const nc_json *config, const char *indent, nc_buf *b)
{
    NC_JSON_EACH(v, config) {
        if (v->type == NC_JSON_OBJECT) {
            nc_buf_printf(b, "%s%s\n", indent, v->key.p);
            config_lines(v, "      ", b);
            continue;
        }
        nc_buf_adds(b, indent);
        nc_cli_pad(b, v->key.p, 32);
        nc_buf_addc(b, ' ');
        nc_json_write(b, v, 0);
        nc_buf_addc(b, '\n');
    }
}

static void front_lines(const nc_loaded *l, nc_buf *b)
{
    if (l->tokenizer) {
        const char *eos = nc_tokenizer_special(l->tokenizer, "eos"), *bos = nc_tokenizer_special(l->tokenizer, "bos"), *chat = nc_tokenizer_chat_template(l->tokenizer, NULL);
        nc_buf_printf(b, "tokenizer   %d tokens, bos %s, eos %s\n", nc_tokenizer_vocab_size(l->tokenizer), bos ? bos : "none", eos ? eos : "none");
        nc_buf_printf(b, "template    %s\n", chat ? "" : "none");
        if (chat)
            nc_buf_printf(b, "%s%s", chat, nc_ends_with(chat, "\n") ? "" : "\n");
    } else
        nc_buf_adds(b, "tokenizer   none\n");
    if (l->image)
        nc_buf_printf(b, "pictures    %s\n", nc_processor_class(l->image));
    if (l->video)
        nc_buf_printf(b, "videos      %s\n", nc_processor_class(l->video));
}

static void as_text(const nc_loaded *l, const tensors *t, bool all, nc_buf *b)
{
    char count[32], size[32];
    total sums[32];
    int n = totals(t, sums, NC_COUNT(sums));
    nc_buf_printf(b, "folder      %s\nfamily      %s\nparameters  %s\nfiles       %s in %d tensors\n", l->folder, l->model->family->name,
                  nc_human_count((double)nc_model_parameters(l->model), count), nc_human_bytes((double)bytes_of(t), size), t->n);
    for (int i = 0; i < n; i++)
        nc_buf_printf(b, "  %-6s %6d tensors %10s values %10s\n", sums[i].type, sums[i].count, nc_human_count((double)sums[i].elements, count), nc_human_bytes((double)sums[i].bytes, size));
    nc_buf_adds(b, "config\n");
    config_lines(l->config, "  ", b);
    front_lines(l, b);
    if (!all)
        return;
    nc_buf_adds(b, "tensors\n");
    for (int i = 0; i < t->n; i++) {
        nc_buf shape = { 0 };
        shape_text(&shape, &t->p[i].shape);
        nc_buf_printf(b, "  %-72s %-6s %-22s %10s\n", t->p[i].name, t->p[i].type, shape.p, nc_human_bytes((double)t->p[i].bytes, size));
        nc_buf_free(&shape);
    }
}

static int run(nc_cli *c, nc_error *e)
{
    nc_loaded *l = NULL;
    tensors t = { 0 };
    nc_buf b = { 0 };
    nc_load_options o = { .weights = { .compute = NC_F32 }, .config_only = true };
    const char *folder;
    NC_TRY(nc_load_resolve(c->arena, c->word[0], &folder, e));
    NC_TRY(nc_inspect_unknown(c, folder, e));
    NC_TRY(nc_load(c->word[0], &o, &l, e));
    const bool alone = !nc_is_dir(l->folder);
    int status = alone ? list_gguf(c->arena, nc_path_dir(c->arena, l->folder), nc_path_base(l->folder), &t, e) : list_safetensors(c->arena, l->folder, &t, e);
    for (int i = 0; i < NC_GGUF_FILES && status == 0 && !alone; i++)
        status = list_gguf(c->arena, l->folder, nc_gguf_files[i], &t, e);
    if (status == 0 && nc_cli_has(c, "json"))
        as_json(c->arena, l, &t, &b);
    else if (status == 0)
        as_text(l, &t, nc_cli_has(c, "tensors"), &b);
    nc_cli_print(&b);
    free(t.p);
    nc_loaded_free(l);
    return status;
}

const nc_verb nc_verb_inspect = { "inspect", "FOLDER", "config, tensors, dtypes, sizes, tokenizer and template of a model folder",
                                  "FOLDER may be a Hub id of the local Hugging Face cache, or a GGUF file. Of an unknown family it says which known one is nearest and what differs, and exits with 1.",
                                  options, 1, 1, false, run };
