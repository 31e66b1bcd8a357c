/* gguf_arch.h - a family as llama.cpp knows it: the word of its architecture, its tensors' names and orders, its config's words.
 *
 * A family is one entry of a table in a gguf_<kin>.c file and one line in gguf_archs.list. Source: gguf-py's constants.py and tensor_mapping.py, and what
 * convert_hf_to_gguf does to values on the way.
 */
#ifndef NC_LOAD_GGUF_ARCH_H
#define NC_LOAD_GGUF_ARCH_H
#include "formats/gguf.h"
#include "load/gguf_names.h"

/* What a rule's function is told of the site. */
typedef struct nc_gguf_ask { const nc_model *m; const nc_json *config; const nc_site *site; int layer, entry; } nc_gguf_ask;

/* '#' in both patterns is a layer's number, '@' in site an expert's; a pattern that ends with '.' leaves the rest as it is. part NULL: the values as they are. */
typedef struct nc_gguf_rule { const char *site, *file; void (*part)(const nc_gguf_ask *ask, nc_gguf_home *out); } nc_gguf_rule;

/* A key "<architecture>.key" from the first of config's keys ("a|b", with paths "a.b") that is there; otherwise: what the library takes without one, NULL: then the
 * key is left out. */
typedef struct nc_gguf_word { const char *key; nc_gguf_type type; const char *config, *otherwise; } nc_gguf_word;

typedef struct nc_gguf_words { nc_gguf_meta *meta; const char *architecture; const nc_json *config; const nc_model *m; } nc_gguf_words;

/* The way back: a config.json from a file's words, for files that stand alone. */
typedef struct nc_gguf_back { nc_arena *a; const nc_gguf *g; const char *architecture; nc_json *config; } nc_gguf_back;

enum { NC_GGUF_EXTRAS = 2 };
typedef struct nc_gguf_extra { const char *name; float *values; int count; } nc_gguf_extra;

typedef struct nc_gguf_arch {
    const char *name;                           /* general.architecture */
    const char *families;                       /* model_types, space-separated */
    const char *prefix;                         /* that names of sites may begin with ("bert."), or NULL */
    const nc_gguf_rule *rules[4];               /* tables that end with site NULL; the first that fits */
    const nc_gguf_word *words[4];               /* tables that end with key NULL */
    bool own_head;                              /* llama.cpp wants output.weight of models whose head is the table of tokens too: it is written twice */
    void (*more)(const nc_gguf_words *w);       /* words that are no copies of keys; may be NULL */
    void (*back)(const nc_gguf_back *b);        /* after the words' keys are set (each word's first key); may be NULL */
    /* Tensors that no site holds (rope's factors); may be NULL. */
    int (*extra)(nc_arena *a, const nc_json *config, nc_gguf_extra out[NC_GGUF_EXTRAS]);
} nc_gguf_arch;

/* A tower with its projector as clip.cpp knows it: one entry in a gguf_<kin>.c file and one line in gguf_towers.list. */
typedef struct nc_gguf_tower {
    const char *families;                       /* model_types of whole models, space-separated */
    const char *prefix;                         /* that names of sites may begin with, or NULL */
    const char *projector;                      /* clip.projector_type */
    const nc_gguf_rule *rules[4];               /* the ask's config is vision_config */
    const nc_gguf_word *words;                  /* "clip.key" of vision_config's keys */
    bool edge;                                  /* clip.vision.preproc_image_size: the longest edge that pictures are scaled to */
    bool (*fits)(const nc_json *config);        /* whether clip.cpp can compute what the whole config says; NULL: any */
    void (*more)(const nc_gguf_words *w);
} nc_gguf_tower;

const nc_gguf_tower *nc_gguf_tower_of(const nc_model *m);                 /* NULL: clip.cpp does not know it */
const nc_gguf_rule *const *nc_gguf_tower_rules(const nc_model *m, const char **prefix);
bool nc_gguf_tower_fits(const nc_model *m);
void nc_gguf_write_tower_words(nc_gguf_meta *meta, const nc_gguf_tower *tower, const nc_model *m);
void nc_gguf_activation_words(const nc_gguf_words *w, const char *otherwise);   /* clip.use_gelu or clip.use_silu by hidden_act; neither: clip.cpp's quick gelu */
void nc_gguf_own_words(nc_gguf_meta *meta, const nc_json *config);        /* what a tower's config says that clip.cpp has no word for */
bool nc_gguf_lists(const char *words, const char *word);                  /* space-separated words */

/* NULL: llama.cpp has no such family, or this program does not know how it holds it. */
const nc_gguf_arch *nc_gguf_arch_of(const nc_model *m);
const nc_gguf_arch *const *nc_gguf_archs(int *count);

/* Parts. */
void nc_gguf_as_matrix(const nc_gguf_ask *ask, nc_gguf_home *out);       /* [n, ...] as [n, rest]: conv1d without its axis of one, a vector as a column */
void nc_gguf_expert(const nc_gguf_ask *ask, nc_gguf_home *out);          /* entry `entry` of [experts, rows, columns] */
void nc_gguf_neighbours(const nc_gguf_ask *ask, nc_gguf_home *out);      /* q and k of what llama.cpp calls llama: rotation by halves becomes one by neighbours */
void nc_gguf_qkv(const nc_gguf_ask *ask, nc_gguf_home *out);             /* [heads, 3, width] becomes [3, heads, width] */
void nc_gguf_plus_one(const nc_gguf_ask *ask, nc_gguf_home *out);        /* a norm that multiplies by 1 + w */
void nc_gguf_decay(const nc_gguf_ask *ask, nc_gguf_home *out);           /* -exp(A_log) */
/* Rows [from, from + count) of every block of `each` rows, to the values of tensor `name` (of `shape`) from `first` on; turned: [columns, rows] within a block. */
void nc_gguf_rows_of_blocks(const nc_gguf_ask *ask, nc_gguf_home *out, const char *name, nc_shape shape, int64_t first, int64_t each, int64_t from, int64_t count, bool turned);

/* Config. */
int64_t nc_gguf_config_int(const nc_json *config, const char *keys, int64_t otherwise);
double nc_gguf_config_real(const nc_json *config, const char *keys, double otherwise);
const nc_json *nc_gguf_config_get(const nc_json *config, const char *keys);
int64_t nc_gguf_head_width(const nc_json *config);                        /* head_dim, else hidden_size / num_attention_heads */
const nc_json *nc_gguf_rope_get(const nc_json *config, const char *key);  /* of rope_parameters (its full_attention, where kinds of layers differ) or rope_scaling */
const char *nc_gguf_rope_type(const nc_json *config);
double nc_gguf_rope_theta(const nc_json *config);
void nc_gguf_word_int(const nc_gguf_words *w, const char *key, int64_t v);
void nc_gguf_word_real(const nc_gguf_words *w, const char *key, double v);
void nc_gguf_word_bool(const nc_gguf_words *w, const char *key, bool v);
void nc_gguf_word_text(const nc_gguf_words *w, const char *key, const char *v);
void nc_gguf_rope_words(const nc_gguf_words *w);                          /* rope.freq_base and rope.scaling.* */

/* Every word of an architecture, to meta. */
void nc_gguf_write_words(nc_gguf_meta *meta, const nc_gguf_arch *arch, const nc_model *m);

int64_t nc_gguf_back_int(const nc_gguf_back *b, const char *key, int64_t otherwise);      /* the file's "<architecture>.key" */
double nc_gguf_back_real(const nc_gguf_back *b, const char *key, double otherwise);
bool nc_gguf_back_has(const nc_gguf_back *b, const char *tensor);
void nc_gguf_back_set_int(const nc_gguf_back *b, const char *key, int64_t v);             /* of the config */
void nc_gguf_back_set_real(const nc_gguf_back *b, const char *key, double v);
void nc_gguf_back_set_bool(const nc_gguf_back *b, const char *key, bool v);
void nc_gguf_back_set_text(const nc_gguf_back *b, const char *key, const char *v);
void nc_gguf_back_rename(const nc_gguf_back *b, const char *from, const char *to);        /* to NULL: left out */
void nc_gguf_back_rope(const nc_gguf_back *b);                                            /* rope_theta and rope_scaling */

/* Tables that kin share. */
extern const nc_gguf_rule nc_gguf_llama_rules[], nc_gguf_moe_rules[];
extern const nc_gguf_word nc_gguf_decoder_words[], nc_gguf_moe_words[];
#endif
