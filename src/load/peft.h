/* peft.h - LoRA adapters in PEFT's files (adapter_config.json, adapter_model.safetensors): targets chosen by its rules, saved, loaded, merged.
 *
 * Source: PEFT 0.21, tuners/tuners_utils.py (check_target_module_exists, get_pattern_key) and utils/save_and_load.py.
 */
#ifndef NC_LOAD_PEFT_H
#define NC_LOAD_PEFT_H
#include "adapt/lora.h"
#include "load/weights.h"

typedef struct nc_lora_config {
    int r;
    double alpha, dropout;
    bool rslora;
    const nc_json *target;           /* a list of names or suffixes, "all-linear", or a regular expression of the whole name */
    const nc_json *exclude;          /* likewise, or NULL */
    const nc_json *layers;           /* layers_to_transform: a number or list, or NULL */
    const char *layers_pattern;      /* or NULL */
    const nc_json *rank_pattern, *alpha_pattern;     /* maps pattern -> number, or NULL */
    const char *const *skip;         /* name prefixes never taken by all-linear (frozen parts); NULL-terminated, or NULL */
    const char *base;                /* base_model_name_or_path, for saving */
    nc_site *const *whole;           /* written beside the factors as they are (modules_to_save); NULL: none */
    int whole_count;
    const char *task_type;           /* NULL: CAUSAL_LM; "": null */
} nc_lora_config;

/* Attaches pairs to every module the config names. None found is an error that lists what there is. */
int nc_lora_attach_targets(nc_lora *l, nc_model *m, const nc_lora_config *c, nc_error *e);
/* folder/adapter_config.json and adapter_model.safetensors (F32). */
int nc_peft_save(const nc_lora *l, const nc_lora_config *c, const char *folder, nc_error *e);
/* Reads an adapter: attaches, allocates (with gradients when train), fills. The caller frees before the model. Config keys of other methods (use_dora,
 * modules_to_save, bias ...) are refused by name. */
int nc_peft_load(nc_model *m, const char *folder, nc_dtype compute, bool train, nc_lora **out, nc_error *e);
/* Folds every pair into its weight (masters, copies or packed storage); the pairs stay attached until nc_lora_free. */
int nc_lora_merge(const nc_lora *l, nc_model *m, const nc_weights_options *o, nc_error *e);
#endif
