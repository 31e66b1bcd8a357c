/* recipe.h - what a training run is told: YAML with LLaMA-Factory's keys, `key=value` overrides, and `stages:`, a list of overrides run one after another.
 *
 * An unknown key is refused with the nearest known one; keys of LLaMA-Factory without meaning here are accepted with a warning. A command line's value holds in
 * every stage; `stages.<index or name>.key=value` in one. Keys that LLaMA-Factory lacks: stages, name, train_from_scratch, model_config, compose, tokenizer_name_or_path,
 * tokenizer_vocab_size, tokenizer_dataset, image_processor, augment, merge_adapter, memory_limit_gb, the stages contrastive, cls and mlm with problem_type, ignore_mismatched_sizes and
 * mlm_probability (transformers' names).
 */
#ifndef NC_TRAIN_RECIPE_H
#define NC_TRAIN_RECIPE_H
#include "train/objective.h"

typedef struct nc_recipe_stage {
    const nc_objective *objective;   /* what `stage` names */
    const char *name, *stage, *finetuning_type;
    /* the model */
    const char *model_name_or_path, *adapter_name_or_path, *tokenizer_name_or_path;
    bool train_from_scratch, freeze_vision_tower, freeze_multi_modal_projector, freeze_language_model;
    const nc_json *model_config, *image_processor, *compose;     /* inline maps, or a path */
    int64_t tokenizer_vocab_size;
    const char *tokenizer_dataset;   /* what a tokenizer is learned from; NULL: dataset */
    /* LoRA */
    int64_t lora_rank, lora_alpha;
    double lora_dropout;
    const nc_json *lora_target;
    bool use_rslora, merge_adapter;
    /* data */
    const char *dataset, *eval_dataset, *dataset_dir, *media_dir, *template;
    int64_t cutoff_len, max_samples, video_maxlen, image_max_pixels, image_min_pixels, video_max_pixels, video_min_pixels;   /* pixels: 0: as the processor makes them */
    double video_fps, val_size, media_memory_gb;
    const char *problem_type;        /* cls: as config.json spells it; NULL: as the model's says, else as the labels look */
    bool ignore_mismatched_sizes;    /* cls: the labels are the data's whatever the folder's head was for */
    double mlm_probability;
    bool packing, packing_given, train_on_prompt, mask_history;
    const nc_json *augment;          /* operations on the training pictures (media/augment.h) */
    /* the run */
    const char *output_dir, *save_strategy, *eval_strategy;
    bool overwrite_output_dir;
    int64_t logging_steps, save_steps, save_total_limit, eval_steps;
    int64_t per_device_train_batch_size, per_device_eval_batch_size, gradient_accumulation_steps, max_steps, warmup_steps, seed, data_seed;
    double learning_rate, num_train_epochs, warmup_ratio, weight_decay, adam_beta1, adam_beta2, adam_epsilon, max_grad_norm, memory_limit_gb;
    double moe_aux_loss_coef;        /* negative: as the model's config says */
    const char *lr_scheduler_type, *optim;
    const nc_json *lr_scheduler_kwargs;
    bool bf16, gradient_checkpointing, do_train;
    uint64_t hash;                   /* of everything that changes the result */
} nc_recipe_stage;

typedef struct nc_recipe {
    nc_arena *arena;
    const char *path, *output_dir;
    bool overwrite_output_dir, staged;   /* staged: the recipe has a list `stages` */
    nc_recipe_stage *stages;
    int count;
    nc_buf warnings;                 /* a line each */
} nc_recipe;

/* overrides: n strings "key=value". The caller frees. */
int nc_recipe_load(const char *path, char *const *overrides, int n, nc_recipe **out, nc_error *e);
int nc_recipe_parse(nc_str text, const char *path, char *const *overrides, int n, nc_recipe **out, nc_error *e);
void nc_recipe_free(nc_recipe *r);   /* NULL is allowed */
#endif
