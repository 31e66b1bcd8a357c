/* fresh.c - what a model needs that starts from a config alone: a tokenizer learned from the data's text or taken from an earlier stage, processor files,
 * and the config completed by what follows from them (vocabulary size, special ids).
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/train.h"
#include "train/run.h"

static const char *const specials[] = { "<|endoftext|>", "<pad>", "<|im_start|>", "<|im_end|>", "<image>", "<video>" };
static const char end_token[] = "<|im_end|>";

static int write_json(nc_arena *a, const char *folder, const char *name, const nc_json *v, nc_error *e)
{
    nc_buf b = { 0 };
    nc_json_write(&b, v, 2);
    nc_buf_addc(&b, '\n');
    int status = nc_file_write(nc_path_join(a, folder, name), b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

static int write_tokenizer_config(nc_train_run *r, const char *folder, nc_error *e)
{
    nc_arena *a = r->arena;
    nc_json *c = nc_json_new(a, NC_JSON_OBJECT);
    const char *name = r->s->template ? r->s->template : "chatml", *source = nc_builtin_template(name);
    static const char *const rows[][2] = { { "tokenizer_class", "PreTrainedTokenizerFast" }, { "eos_token", end_token }, { "pad_token", "<pad>" }, { "padding_side", "left" },
                                           { "image_token", "<image>" }, { "video_token", "<video>" } };
    for (int i = 0; i < NC_COUNT(rows); i++)
        nc_json_set(a, c, rows[i][0], nc_json_new_string(a, nc_str_of(rows[i][1])));
    nc_json_set(a, c, "clean_up_tokenization_spaces", nc_json_new_bool(a, false));
    NC_TRY(write_json(a, folder, "tokenizer_config.json", c, e));
    return source ? nc_file_write(nc_path_join(a, folder, "chat_template.jinja"), source, strlen(source), e) : 0;
}

static int feed_text(nc_trainer *t, const nc_sample *s, nc_error *e)
{
    if (s->text.n)
        return nc_trainer_feed(t, s->text, e);
    NC_JSON_EACH(m, s->messages) {
        const nc_json *role = nc_json_get(m, "role"), *content = nc_json_get(m, "content");
        if (nc_json_is(role, NC_JSON_STRING))        /* templates write it */
            NC_TRY(nc_trainer_feed(t, role->text, e));
        if (nc_json_is(content, NC_JSON_STRING))
            NC_TRY(nc_trainer_feed(t, content->text, e));
        NC_JSON_EACH(part, nc_json_is(content, NC_JSON_ARRAY) ? content : NULL)
            if (nc_json_is(nc_json_get(part, "text"), NC_JSON_STRING))
                NC_TRY(nc_trainer_feed(t, nc_json_get(part, "text")->text, e));
    }
    return 0;
}

static int learn_tokenizer(nc_train_run *r, const char *folder, nc_error *e)
{
    nc_trainer_options o = { .vocab_size = (int32_t)r->s->tokenizer_vocab_size, .special = specials, .special_count = NC_COUNT(specials), .pattern = "qwen2", .nfc = true };
    const char *names = r->s->tokenizer_dataset ? r->s->tokenizer_dataset : r->s->dataset;
    nc_dataset_options d = { .folder = r->s->dataset_dir, .media_folder = r->s->media_dir, .records = names == r->s->dataset ? r->s->objective->records : NC_RECORDS_CHAT,
                             .max_samples = r->s->max_samples };
    nc_dataset *data = NULL;
    nc_trainer *t = NULL;
    nc_json *tree = NULL;
    if (o.vocab_size < 256 + NC_COUNT(specials))
        return nc_fail(e, NC_EINVAL, "tokenizer_vocab_size must be at least %d (all bytes and the special tokens)", 256 + NC_COUNT(specials));
    NC_TRY(nc_dataset_load(names, &d, &data, e));
    int status = nc_trainer_new(&o, &t, e);
    for (int i = 0; i < data->count && status == 0; i++)
        status = feed_text(t, &data->samples[i], e);
    if (status == 0)
        status = nc_trainer_finish(t, r->arena, &tree, e);
    if (status == 0)
        status = write_json(r->arena, folder, "tokenizer.json", tree, e);
    nc_trainer_free(t);
    nc_dataset_free(data);
    return status < 0 ? status : write_tokenizer_config(r, folder, e);
}

static int take_tokenizer(nc_train_run *r, const char *folder, nc_error *e)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json", "added_tokens.json",
                                         "vocab.json", "merges.txt", "tokenizer.model" };
    const char *from = NULL;
    int found = 0;
    if (r->s->tokenizer_name_or_path)
        NC_TRY(nc_train_folder(r, r->s->tokenizer_name_or_path, &from, e));
    else if (r->index > 0)
        from = r->results[r->index - 1];
    if (!from)
        return nc_fail(e, NC_EINVAL, "train_from_scratch needs tokenizer_vocab_size (to learn a tokenizer from the data) or tokenizer_name_or_path");
    for (int i = 0; i < NC_COUNT(names); i++) {
        const char *path = nc_path_join(r->arena, from, names[i]);
        if (!nc_file_exists(path))
            continue;
        found++;
        NC_TRY(nc_file_copy(path, nc_path_join(r->arena, folder, names[i]), e));
    }
    return found ? 0 : nc_fail(e, NC_ENOTFOUND, "%s holds no tokenizer", from);
}

/* Sets key unless the recipe's config says it. */
static void complete(nc_arena *a, nc_json *o, const char *key, int64_t v)
{
    const nc_json *have = nc_json_get(o, key);
    if (v >= 0 && (!have || have->type == NC_JSON_NULL))
        nc_json_set(a, o, key, nc_json_new_int(a, v));
}

static void complete_config(nc_arena *a, nc_json *config, const nc_tokenizer *t)
{
    nc_json *text = (nc_json *)nc_json_get(config, "text_config");
    const char *type = nc_json_string(nc_json_get(config, "model_type"), "");
    int32_t vocab = nc_tokenizer_vocab_size(t);
    if (!text)
        text = config;
    complete(a, text, "vocab_size", (vocab + 15) / 16 * 16);
    complete(a, text, "eos_token_id", nc_tokenizer_special_id(t, "eos"));
    complete(a, text, "pad_token_id", nc_tokenizer_special_id(t, "pad"));
    complete(a, text, "bos_token_id", nc_tokenizer_special_id(t, "bos"));
    if (nc_starts_with(type, "llava"))
        complete(a, config, "image_token_index", nc_tokenizer_id(t, NC_STR("<image>")));
    if (nc_starts_with(type, "llava_next_video"))
        complete(a, config, "video_token_index", nc_tokenizer_id(t, NC_STR("<video>")));
}

/* Processor files for a tower of image_size x image_size, with CLIP's colours unless image_processor says otherwise. */
static int write_processors(nc_train_run *r, const char *folder, const nc_json *config, nc_error *e)
{
    static const double mean[3] = { 0.48145466, 0.4578275, 0.40821073 }, std[3] = { 0.26862954, 0.26130258, 0.27577711 };
    nc_arena *a = r->arena;
    const nc_json *vision = nc_json_get(config, "vision_config");
    int64_t size = nc_json_int(nc_json_get(vision, "image_size"), 0);
    if (!vision || size <= 0)
        return 0;
    bool siglip = strstr(nc_json_string(nc_json_get(vision, "model_type"), ""), "siglip") != NULL;
    nc_json *p = nc_json_new(a, NC_JSON_OBJECT), *edge = nc_json_new(a, NC_JSON_OBJECT), *crop = nc_json_new(a, NC_JSON_OBJECT), *means = nc_json_new(a, NC_JSON_ARRAY),
            *stds = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < 3; i++) {
        nc_json_append(means, nc_json_new_double(a, siglip ? 0.5 : mean[i]));
        nc_json_append(stds, nc_json_new_double(a, siglip ? 0.5 : std[i]));
    }
    nc_json_set(a, crop, "height", nc_json_new_int(a, size));
    nc_json_set(a, crop, "width", nc_json_new_int(a, size));
    if (siglip) {
        edge = nc_json_clone(a, crop);
        nc_json_set(a, p, "do_center_crop", nc_json_new_bool(a, false));
    }
    if (!siglip)
        nc_json_set(a, edge, "shortest_edge", nc_json_new_int(a, size));
    nc_json_set(a, p, "image_processor_type", nc_json_new_string(a, nc_str_of(siglip ? "SiglipImageProcessor" : "CLIPImageProcessor")));
    nc_json_set(a, p, "size", edge);
    if (!siglip)
        nc_json_set(a, p, "crop_size", crop);
    nc_json_set(a, p, "image_mean", means);
    nc_json_set(a, p, "image_std", stds);
    NC_JSON_EACH(v, r->s->image_processor)
        nc_json_set(a, p, v->key.p, nc_json_clone(a, v));
    NC_TRY(write_json(a, folder, "preprocessor_config.json", p, e));
    /* A pair of towers that learns from videos takes their frames as the model around the tower will, and so their media are decoded once for both. */
    bool videos = r->s->objective->one_frame && r->s->video_maxlen > 0;
    if (!videos && strcmp(nc_json_string(nc_json_get(config, "model_type"), ""), "llava_next_video"))
        return 0;
    nc_json *video = nc_json_clone(a, p);
    nc_json_set(a, video, "image_processor_type", nc_json_new(a, NC_JSON_NULL));
    nc_json *kept = nc_json_new(a, NC_JSON_OBJECT);
    NC_JSON_EACH(v, video)
        if (v->type != NC_JSON_NULL)
            nc_json_set(a, kept, v->key.p, nc_json_clone(a, v));
    nc_json_set(a, kept, "video_processor_type", nc_json_new_string(a, NC_STR("LlavaNextVideoVideoProcessor")));
    if (r->s->video_maxlen > 0)
        nc_json_set(a, kept, "num_frames", nc_json_new_int(a, r->s->video_maxlen));
    return write_json(a, folder, "video_preprocessor_config.json", kept, e);
}

static int write_generation(nc_train_run *r, const char *folder, const nc_tokenizer *t, nc_error *e)
{
    nc_json *g = nc_json_new(r->arena, NC_JSON_OBJECT);
    complete(r->arena, g, "bos_token_id", nc_tokenizer_special_id(t, "bos"));
    complete(r->arena, g, "eos_token_id", nc_tokenizer_special_id(t, "eos"));
    complete(r->arena, g, "pad_token_id", nc_tokenizer_special_id(t, "pad"));
    return write_json(r->arena, folder, "generation_config.json", g, e);
}

/* The processor of a classifier of pictures: to image_size (224), colours from -1 to 1, unless image_processor says otherwise. */
static int write_picture_processor(nc_train_run *r, const char *folder, const nc_json *config, nc_error *e)
{
    nc_arena *a = r->arena;
    nc_json *p = nc_json_new(a, NC_JSON_OBJECT), *size = nc_json_new(a, NC_JSON_OBJECT), *halves = nc_json_new(a, NC_JSON_ARRAY);
    const int64_t edge = nc_json_int(nc_json_get(config, "image_size"), 224);
    for (int i = 0; i < 3; i++)
        nc_json_append(halves, nc_json_new_double(a, 0.5));
    nc_json_set(a, size, "height", nc_json_new_int(a, edge));
    nc_json_set(a, size, "width", nc_json_new_int(a, edge));
    nc_json_set(a, p, "image_processor_type", nc_json_new_string(a, NC_STR("ViTImageProcessor")));
    nc_json_set(a, p, "size", size);
    nc_json_set(a, p, "image_mean", halves);
    nc_json_set(a, p, "image_std", nc_json_clone(a, halves));
    NC_JSON_EACH(v, r->s->image_processor)
        nc_json_set(a, p, v->key.p, nc_json_clone(a, v));
    NC_TRY(write_json(a, folder, "preprocessor_config.json", p, e));
    return write_json(a, folder, "config.json", config, e);
}

int nc_train_fresh(nc_train_run *r, const char *folder, nc_error *e)
{
    nc_json *config = NULL;
    nc_tokenizer *t = NULL;
    NC_TRY(nc_mkdirs(folder, e));
    if (nc_json_is(r->s->model_config, NC_JSON_STRING))
        NC_TRY(nc_json_load(r->arena, r->s->model_config->text.p, &config, e));
    else
        config = nc_json_clone(r->arena, r->s->model_config);
    if (!nc_json_is(config, NC_JSON_OBJECT))
        return nc_fail(e, NC_EINVAL, "model_config is neither a map nor the path of a config.json");
    config->key = (nc_str){ 0 };
    if (r->data && r->data->samples[0].media_count)          /* a stage whose data say what the model is to be: no words are read */
        return write_picture_processor(r, folder, config, e);
    bool learns = r->s->tokenizer_vocab_size > 0;
    NC_TRY(learns ? learn_tokenizer(r, folder, e) : take_tokenizer(r, folder, e));
    r->learned = learns ? nc_process_peak() : 0;
    NC_TRY(nc_tokenizer_load(folder, &t, e));
    complete_config(r->arena, config, t);
    int status = write_generation(r, folder, t, e);
    nc_tokenizer_free(t);
    if (status == 0)
        status = write_processors(r, folder, config, e);
    return status < 0 ? status : write_json(r->arena, folder, "config.json", config, e);
}
