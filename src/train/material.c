/* material.c - a stage's material: the model as a list of sites without memory, tokenizer and template, datasets, media, examples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "load/visual_media.h"
#include "train/run.h"

int nc_train_folder(nc_train_run *r, const char *name, const char **folder, nc_error *e)
{
    for (int k = 0; k < r->index; k++) {
        char number[24];
        snprintf(number, sizeof number, "stage%d", k);
        if (!strcmp(name, number) || (r->recipe->stages[k].name && !strcmp(name, r->recipe->stages[k].name))) {
            *folder = r->results[k];
            return 0;
        }
    }
    return nc_load_resolve(r->arena, name, folder, e);
}

/* Where files in front of the model lie, and where its weights come from. */
static int find_source(nc_train_run *r, nc_error *e)
{
    if (r->s->train_from_scratch) {
        r->front = nc_path_join(r->arena, r->folder, "front");
        r->source = NULL;
        return nc_train_fresh(r, r->front, e);
    }
    if (r->s->model_name_or_path)
        NC_TRY(nc_train_folder(r, r->s->model_name_or_path, &r->source, e));
    else if (r->index > 0)
        r->source = r->results[r->index - 1];
    else
        return nc_fail(e, NC_EINVAL, "%s: model_name_or_path is not set, and train_from_scratch is not true", r->recipe->path);
    r->front = r->source;
    return 0;
}

static int rows_of(void *context, const nc_visual *v)
{
    const nc_model *m = context;
    nc_media media = nc_media_of(v);
    return m->family->media_rows ? m->family->media_rows(m, m->self, &media) : 0;
}

static int cutoff_of(const nc_train_run *r)
{
    int cutoff = (int)(r->s->cutoff_len < 1 << 20 ? r->s->cutoff_len : 1 << 20), most = r->l->model->max_positions;
    return most > 0 && most < cutoff ? most : cutoff;
}

static int source_cutoff_of(const nc_train_run *r)
{
    int cutoff = (int)(r->s->cutoff_len < 1 << 20 ? r->s->cutoff_len : 1 << 20), most = r->l->model->max_source;
    return most > 0 && most < cutoff ? most : cutoff;
}

/* val_size takes samples from the end of a fixed shuffle, as a share or a number. */
static void split_off(nc_train_run *r, nc_examples *all, nc_examples **eval)
{
    double v = r->s->val_size;
    int n = (int)(v < 1 ? v * all->count : v);
    if (n <= 0 || n >= all->count)
        return;
    int64_t *order = nc_xcalloc((size_t)all->count, sizeof *order);
    for (int i = 0; i < all->count; i++)
        order[i] = i;
    nc_rng rng = nc_rng_new((uint64_t)r->s->data_seed, nc_rng_stream(0x76616c, 0, 0, 0));
    nc_rng_shuffle(&rng, order, (size_t)all->count);
    nc_example *items = nc_xcalloc((size_t)all->count, sizeof *items);
    for (int i = 0; i < all->count; i++)
        items[i] = all->item[order[i]];
    nc_arena *a = nc_arena_new();
    nc_examples *x = NC_NEW(a, nc_examples);
    x->arena = a;
    x->item = nc_xcalloc((size_t)n, sizeof *x->item);
    memcpy(x->item, items + all->count - n, sizeof *items * (size_t)n);
    x->count = n;
    memcpy(all->item, items, sizeof *items * (size_t)(all->count - n));
    all->count -= n;
    free(items);
    free(order);
    *eval = x;
}

static void loading(void *context, int done, int total)
{
    nc_progress_set(context, done, "%d of %d", done, total);
}

static int load_media(nc_train_run *r, nc_error *e)
{
    int n = nc_media_store_count(r->store);
    if (nc_media_store_unloaded(r->store) == 0)
        return 0;
    nc_progress *p = nc_progress_new("media", n);
    int status = nc_media_store_load(r->store, r->pool, loading, p, e);
    char bytes[32];
    nc_progress_done(p, "%d files, %s kept", n, nc_human_bytes((double)nc_media_store_bytes(r->store), bytes));
    return status;
}

static void report(const char *what, const nc_examples *x)
{
    if (x->left_out)
        nc_warn("%s: %d samples left out (no token with loss within cutoff_len)", what, x->left_out);
    if (x->cut)
        nc_warn("%s: %d samples cut at cutoff_len", what, x->cut);
}

void nc_media_shelf_clear(nc_media_shelf *s)
{
    nc_media_store_free(s->store);
    nc_arena_free(s->arena);
    *s = (nc_media_shelf){ 0 };
}

/* What decides how a file is processed: the processor files, the frames, the memory. */
static int shelf_key(const nc_train_run *r, int frames, uint64_t *key, nc_error *e)
{
    static const char *const names[] = { "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json" };
    const nc_recipe_stage *s = r->s;
    double facts[] = { frames, s->media_memory_gb, (double)s->image_max_pixels, (double)s->image_min_pixels, (double)s->video_max_pixels, (double)s->video_min_pixels, s->video_fps };
    *key = nc_hash64(facts, sizeof facts, 0);
    for (int i = 0; i < NC_COUNT(names); i++) {
        nc_buf text = { 0 };
        const char *path = nc_path_join(r->arena, r->front, names[i]);
        if (!nc_file_exists(path))
            continue;
        NC_TRY(nc_file_read(path, 16 << 20, &text, e));
        *key = nc_hash64(text.p ? text.p : "", text.n, *key + (uint64_t)i);
        nc_buf_free(&text);
    }
    return 0;
}

static int optional(int status, nc_error *e)
{
    if (status != NC_ENOTFOUND)
        return status;
    *e = (nc_error){ 0 };
    return 0;
}

static int open_shelf(nc_train_run *r, nc_error *e)
{
    int frames = r->s->video_maxlen > 0 ? (int)r->s->video_maxlen : nc_visual_frames(r->arena, r->front);
    uint64_t key;
    NC_TRY(shelf_key(r, frames, &key, e));
    if (!r->shelf->store || r->shelf->key != key) {
        nc_media_shelf_clear(r->shelf);
        r->shelf->arena = nc_arena_new();
        nc_media_store_options m = { .memory = (size_t)(r->s->media_memory_gb * 1e9) };
        m.visual = (nc_visual_options){ .frames = frames, .rate = r->s->video_fps, .picture_area = { r->s->image_min_pixels, r->s->image_max_pixels },
                                        .frame_area = { r->s->video_min_pixels, r->s->video_max_pixels } };
        nc_processor *image = NULL, *video = NULL;
        NC_TRY(optional(nc_processor_open(r->shelf->arena, r->front, NC_PROCESS_IMAGE, &image, e), e));
        NC_TRY(optional(nc_processor_open(r->shelf->arena, r->front, NC_PROCESS_VIDEO, &video, e), e));
        m.image = image;
        m.video = video;
        r->shelf->store = nc_media_store_new(&m);
        r->shelf->key = key;
    }
    r->store = r->shelf->store;
    return 0;
}

static uint64_t hash_of_data(const nc_train_run *r)
{
    uint64_t h = nc_hash64(&r->train->hash, sizeof h, r->data->hash);
    for (int i = 0; i < r->train->count; i++)
        for (int k = 0; k < r->train->item[i].media_count; k++)
            h = h * 31 + nc_media_store_hash(r->store, r->train->item[i].media[k]);
    return h;
}

static int read_data(nc_train_run *r, nc_error *e)
{
    const nc_recipe_stage *s = r->s;
    nc_dataset_options d = { .folder = s->dataset_dir, .media_folder = s->media_dir, .records = s->objective->records, .max_samples = s->max_samples };
    NC_TRY(nc_dataset_load(s->dataset, &d, &r->data, e));
    return s->eval_dataset ? nc_dataset_load(s->eval_dataset, &d, &r->eval_data, e) : 0;
}

static int make_examples(nc_train_run *r, nc_error *e)
{
    const nc_recipe_stage *s = r->s;
    nc_example_options o = { .cutoff = cutoff_of(r), .train_on_prompt = s->train_on_prompt, .mask_history = s->mask_history, .rows = rows_of,
                             .rows_context = r->l->model };
    s->objective->examples(r, &o);
    if (o.kind == NC_EXAMPLE_SOURCE) {
        NC_TRY(nc_decoder_start(r->l, &o.decoder_start, e));
        o.source_cutoff = nc_reads_source(r->l->model) ? source_cutoff_of(r) : 0;
        o.processor = r->l->processor;
        o.media_token = r->l->model->image_token_id;
    }
    NC_TRY(open_shelf(r, e));
    if (s->augment)
        NC_TRY(nc_augment_new(r->arena, s->augment, nc_arena_printf(r->arena, "%s: augment", r->recipe->path), &r->augment, e));
    nc_examples_add_media(r->data, o.kind, r->store);
    if (r->eval_data)
        nc_examples_add_media(r->eval_data, o.kind, r->store);
    NC_TRY(load_media(r, e));
    NC_TRY(nc_examples_make(r->data, r->conversation, r->l->tokenizer, r->store, &o, &r->train, e));
    report("dataset", r->train);
    if (r->eval_data) {
        NC_TRY(nc_examples_make(r->eval_data, r->conversation, r->l->tokenizer, r->store, &o, &r->eval, e));
        report("eval_dataset", r->eval);
    }
    r->data_hash = hash_of_data(r);
    if (s->val_size > 0 && !r->eval)
        split_off(r, r->train, &r->eval);
    return 0;
}

static int open_conversation(nc_train_run *r, nc_error *e)
{
    const nc_model *m = r->l->model;
    bool own = r->s->train_from_scratch;             /* its front folder was written with the recipe's template */
    nc_conversation_options c = { .tokenizer = r->l->tokenizer, .template_name = own ? NULL : r->s->template, .image_token_id = m->image_token_id, .video_token_id = m->video_token_id,
                                  .processor = r->l->processor };
    if (c.template_name && !strcmp(c.template_name, "default") && nc_tokenizer_chat_template(r->l->tokenizer, NULL))
        c.template_name = NULL;
    return nc_conversation_new(&c, &r->conversation, e);
}

int nc_train_open(nc_train_run *r, nc_error *e)
{
    const bool settles = r->s->objective->settle != NULL;        /* the data say what the model is to be */
    if (settles)
        NC_TRY(read_data(r, e));
    NC_TRY(find_source(r, e));
    if (settles)
        NC_TRY(r->s->objective->settle(r, e));
    r->weights = (nc_weights_options){ .compute = r->s->bf16 ? NC_BF16 : NC_F32, .pool = r->pool, .kernels = r->kernels };
    NC_TRY(nc_load(r->front, &(nc_load_options){ .weights = r->weights, .config_only = true }, &r->l, e));
    NC_TRY(r->s->objective->check(r, e));
    if (settles)
        NC_TRY(nc_train_mark(r, e));
    else
        NC_TRY(read_data(r, e));
    if (r->s->objective->records == NC_RECORDS_CHAT && r->l->model->family->decoder && !r->l->model->family->encoder)
        NC_TRY(open_conversation(r, e));
    return make_examples(r, e);
}

void nc_train_close(nc_train_run *r)
{
    nc_program_free(r->judge);
    nc_program_free(r->program);
    nc_frozen_free(r->frozen, r->store ? nc_media_store_count(r->store) : 0);
    if (r->memory)
        nc_pages_free(r->memory, r->memory_bytes);
    nc_optim_free(r->optim);
    nc_batch_free(r->batch);
    free(r->pixels);
    free(r->seqs);
    free(r->drawn);
    free(r->media);
    free(r->frames);
    free(r->jobs);
    free(r->sizes);
    free(r->epoch_steps);
    free(r->trained);
    nc_epoch_free(&r->epoch);
    nc_lora_free(r->lora);
    nc_examples_free(r->train);
    nc_examples_free(r->eval);
    nc_label_scores_free(r->scores);
    nc_dataset_free(r->data);
    nc_dataset_free(r->eval_data);
    nc_conversation_free(r->conversation);
    nc_loaded_free(r->l);
    nc_arena_free(r->arena);
    *r = (nc_train_run){ 0 };
}
