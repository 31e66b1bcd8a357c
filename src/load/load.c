/* load.c - resolve a name to a folder, read its config, make the model, fill it, and open the files in front of it. */
#include "load/load.h"
#include "front/conversation.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/file.h"
#include "load/checkpoint.h"
#include "load/gguf_config.h"
#include "load/gguf_vocab.h"

static const char *hub_cache(nc_arena *a)
{
    const char *cache = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *user = getenv("HOME");
    if (cache)
        return cache;
    return home ? nc_arena_printf(a, "%s/hub", home) : nc_arena_printf(a, "%s/.cache/huggingface/hub", user ? user : "");
}

/* models--Qwen--Qwen3-0.6B/snapshots/<revision of refs/main> */
static const char *hub_folder(nc_arena *a, const char *id, const char *cache)
{
    const char *slash = strchr(id, '/');
    if (!slash || strchr(slash + 1, '/') || id[0] == '.' || id[0] == '/')
        return NULL;
    char *base = nc_arena_printf(a, "%s/models--%.*s--%s", cache, (int)(slash - id), id, slash + 1);
    nc_buf revision = { 0 };
    nc_error ignored = { 0 };
    const char *found = NULL;
    if (nc_file_read(nc_path_join(a, base, "refs/main"), 256, &revision, &ignored) == 0 && revision.n) {
        revision.p[strcspn(revision.p, "\r\n")] = 0;
        if (!strchr(revision.p, '/'))
            found = nc_arena_printf(a, "%s/snapshots/%s", base, revision.p);
    }
    nc_buf_free(&revision);
    return found && nc_is_dir(found) ? found : NULL;
}

/* The one .gguf file (mmproj's and extra's do not count) of a folder without config.json; NULL: none, or several. */
static const char *lone_gguf(nc_arena *a, const char *folder)
{
    char **names;
    int count = 0, found = -1, all = 0;
    nc_error ignored = { 0 };
    if (nc_file_exists(nc_path_join(a, folder, "config.json")) || nc_list_dir(a, folder, &names, &count, &ignored) < 0)
        return NULL;
    for (int i = 0; i < count; i++)
        if (nc_ends_with(names[i], ".gguf") && !nc_starts_with(names[i], "mmproj") && !nc_starts_with(names[i], "extra"))
            found = i, all++;
    return all == 1 ? nc_path_join(a, folder, names[found]) : NULL;
}

/* model.gguf beside its config.json is its folder. */
static const char *gguf_or_folder(nc_arena *a, const char *file)
{
    const char *folder = nc_path_dir(a, file);
    const bool whole = !strcmp(nc_path_base(file), "model.gguf") && nc_file_exists(nc_path_join(a, folder, "config.json"));
    return whole ? folder : nc_arena_strdup(a, file);
}

int nc_load_resolve(nc_arena *a, const char *name, const char **folder, nc_error *e)
{
    if (nc_is_dir(name)) {
        const char *file = lone_gguf(a, name);
        *folder = file ? file : nc_arena_strdup(a, name);
        return 0;
    }
    if (nc_ends_with(name, ".gguf") && nc_file_exists(name)) {
        *folder = gguf_or_folder(a, name);
        return 0;
    }
    const char *cache = hub_cache(a), *found = hub_folder(a, name, cache);
    if (!found)
        return nc_fail(e, NC_ENOTFOUND, "%s: no such folder, and the Hugging Face cache %s has no model of that id", name, cache);
    *folder = found;
    return 0;
}

static void drop_ignored_keys(nc_arena *a, nc_json *config, const char *keys)
{
    while (keys && *keys) {
        size_t n = strcspn(keys, ",");
        char *key = nc_arena_strndup(a, keys, n);
        if (nc_json_get(config, key))
            nc_json_set(a, config, key, nc_json_new(a, NC_JSON_NULL));
        keys += n + (keys[n] == ',');
    }
}

static int load_weights(nc_loaded *l, const nc_load_options *o, nc_error *e)
{
    if (o->config_only)
        return 0;
    NC_TRY(nc_weights_allocate(l->model, &o->weights, e));
    if (o->random)
        return nc_weights_init(l->model, o->seed, &o->weights, e);
    nc_checkpoint *c = NULL;
    NC_TRY(nc_checkpoint_open(l->folder, &c, e));
    nc_model_keep(l->model, c);
    nc_weights_options kept = o->weights;
    kept.stored = true;
    return nc_weights_read(l->model, c, &kept, &l->warnings, e);
}

/* A part that is absent is fine; one that is broken is not. */
static int optional(int status, nc_error *e)
{
    if (status == NC_ENOTFOUND) {
        *e = (nc_error){ 0 };
        return 0;
    }
    return status;
}

static int load_front(nc_loaded *l, nc_error *e)
{
    if (!nc_is_dir(l->folder))
        return optional(nc_gguf_vocab_open(l->folder, &l->tokenizer, e), e);
    nc_json *generation = NULL;
    const char *path = nc_path_join(l->arena, l->folder, "generation_config.json");
    if (nc_file_exists(path))
        NC_TRY(nc_json_load(l->arena, path, &generation, e));
    l->generation = generation;
    l->processor = nc_processor_name(l->arena, l->folder);
    NC_TRY(optional(nc_tokenizer_load(l->folder, &l->tokenizer, e), e));
    path = nc_path_join(l->arena, l->folder, "model.gguf");
    if (!l->tokenizer && nc_file_exists(path))
        NC_TRY(optional(nc_gguf_vocab_open(path, &l->tokenizer, e), e));
    NC_TRY(optional(nc_processor_open(l->arena, l->folder, NC_PROCESS_IMAGE, &l->image, e), e));
    return optional(nc_processor_open(l->arena, l->folder, NC_PROCESS_VIDEO, &l->video, e), e);
}

/* A tokenizer.json of 11 MB takes as long to read as half a gigabyte of weights: it is read in a thread beside them. The front uses the arena of nc_loaded
 * and the weights that of the model, so neither waits for the other. */
struct front { nc_loaded *l; nc_error error; int status; };

static void *front_main(void *context)
{
    struct front *f = context;
    f->status = load_front(f->l, &f->error);
    return NULL;
}

static int load_both(nc_loaded *l, const nc_load_options *o, nc_error *e)
{
    struct front front = { .l = l };
    pthread_t thread;
    bool beside = !o->no_front && pthread_create(&thread, NULL, front_main, &front) == 0;
    int status = load_weights(l, o, e);
    if (beside)
        pthread_join(thread, NULL);
    else if (!o->no_front && status == 0)
        front_main(&front);
    if (status == 0 && front.status < 0)
        *e = front.error;
    return status < 0 ? status : front.status;
}

/* Families whose config.json does not say which token stands for a picture: the folder's tokenizer does. */
static int find_placeholder(nc_loaded *l, nc_error *e)
{
    nc_model *m = l->model;
    nc_tokenizer *own = NULL, *t = l->tokenizer;
    if (!m->family->placeholder)
        return 0;
    if (!t) {
        NC_TRY(optional(nc_tokenizer_load(l->folder, &own, e), e));
        t = own;
    }
    int32_t id = t ? nc_tokenizer_id(t, nc_str_of(m->family->placeholder)) : -1;
    m->image_token_id = id >= 0 ? id : m->image_token_id;
    nc_tokenizer_free(own);
    return 0;
}

static int load(nc_loaded *l, const char *name, const nc_load_options *o, nc_error *e)
{
    nc_error spare = { 0 };
    e = e ? e : &spare;
    NC_TRY(nc_load_resolve(l->arena, name, &l->folder, e));
    const char *path = nc_path_join(l->arena, l->folder, "config.json");
    const bool alone = !nc_is_dir(l->folder);
    if (!alone && !nc_file_exists(path))
        return nc_fail(e, NC_ENOTFOUND, "%s: no config.json; this is no model folder", l->folder);
    NC_TRY(alone ? nc_gguf_config_open(l->arena, l->folder, &l->config, e) : nc_json_load(l->arena, path, &l->config, e));
    drop_ignored_keys(l->arena, l->config, o->ignore_keys);
    int status = nc_model_new(l->config, &l->model, e);
    if (status < 0) {
        nc_fail_in(e, "%s", l->folder);
        return status;
    }
    if (o->train)
        nc_model_train_only(l->model, o->train);
    NC_TRY(load_both(l, o, e));
    return find_placeholder(l, e);
}

int nc_load(const char *folder_or_id, const nc_load_options *o, nc_loaded **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_loaded *l = NC_NEW(a, nc_loaded);
    l->arena = a;
    l->options = *o;
    int status = load(l, folder_or_id, o, e);
    if (status < 0) {
        nc_loaded_free(l);
        return status;
    }
    *out = l;
    return 0;
}

void nc_loaded_free(nc_loaded *l)
{
    if (!l)
        return;
    nc_model_free(l->model);
    nc_tokenizer_free(l->tokenizer);
    nc_buf_free(&l->warnings);
    nc_arena_free(l->arena);
}

int nc_copy_front_files(const char *from, const char *to, nc_error *e)
{
    static const char *const names[] = {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model",
        "chat_template.jinja", "chat_template.json", "generation_config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
    };
    nc_arena *a = nc_arena_new();
    int status = nc_mkdirs(to, e);
    for (int i = 0; i < NC_COUNT(names) && status == 0; i++) {
        const char *source = nc_path_join(a, from, names[i]);
        if (nc_file_exists(source))
            status = nc_file_copy(source, nc_path_join(a, to, names[i]), e);
    }
    nc_arena_free(a);
    return status;
}

int nc_decoder_start(const nc_loaded *l, int32_t *out, nc_error *e)
{
    static const char *const places[] = { "decoder_start_token_id", "decoder.decoder_start_token_id", "text_config.decoder_start_token_id", "decoder.bos_token_id", "bos_token_id" };
    int64_t id = nc_json_int(nc_json_get(l->generation, places[0]), -1);
    for (int i = 0; i < NC_COUNT(places) && id < 0; i++)
        id = nc_json_int(nc_json_path(l->config, places[i]), -1);
    if (id < 0 || id >= l->model->vocab_size)
        return nc_fail(e, NC_EINVAL, "%s: neither generation_config.json nor config.json says decoder_start_token_id", l->folder);
    *out = (int32_t)id;
    return 0;
}
