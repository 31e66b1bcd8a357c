/* load.h - a folder (or a Hub id in the local cache) becomes a ready model with its tokenizer, template and processors. */
#ifndef NC_LOAD_LOAD_H
#define NC_LOAD_LOAD_H
#include "front/processor.h"
#include "load/weights.h"
#include "text/tokenizer.h"

typedef struct nc_load_options {
    nc_weights_options weights;
    bool config_only;                /* no weights: plan, inspect */
    bool random;                     /* weights at random from `seed` instead of files (train_from_scratch, bench) */
    uint64_t seed;
    const char *const *train;        /* patterns of trainable sites, NULL: none */
    const char *ignore_keys;         /* comma-separated keys of config.json to pass over, or NULL */
    bool no_front;                   /* no tokenizer, no processors */
} nc_load_options;

typedef struct nc_loaded {
    nc_arena *arena;
    const char *folder;              /* or a .gguf file that stands alone: config and vocabulary are in it */
    nc_json *config;
    nc_model *model;
    nc_tokenizer *tokenizer;         /* NULL when the folder has none */
    const nc_json *generation;       /* generation_config.json, or NULL */
    nc_processor *image, *video;     /* NULL when the folder has none */
    const char *processor;           /* processor_class, NULL when its files say nothing */
    nc_buf warnings;                 /* a line each */
    nc_load_options options;
} nc_loaded;

int nc_load(const char *folder_or_id, const nc_load_options *o, nc_loaded **out, nc_error *e);
/* What the text of an encoder-decoder model begins with: decoder_start_token_id, else the decoder's begin token, of generation_config.json or config.json. */
int nc_decoder_start(const nc_loaded *l, int32_t *out, nc_error *e);
void nc_loaded_free(nc_loaded *l);   /* NULL is allowed */
/* A folder or a .gguf file as it is, a folder that has no config.json and one .gguf file as that file, else the newest snapshot of a Hub id ("Qwen/Qwen3-0.6B") in $HF_HUB_CACHE, $HF_HOME/hub or ~/.cache/huggingface/hub. Fails with the places looked at. */
int nc_load_resolve(nc_arena *a, const char *folder_or_id, const char **folder, nc_error *e);
/* Copies tokenizer, template, generation and processor files of one folder to another (atomically, those that exist). */
int nc_copy_front_files(const char *from, const char *to, nc_error *e);
#endif
