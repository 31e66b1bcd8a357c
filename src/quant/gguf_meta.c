/* gguf_meta.c - what the files say of themselves: general.*, the decoder's and the tower's words (load/gguf_arch.h). Source: gguf-py's constants.py. */
#include "quant/gguf_meta.h"

#include <stdio.h>
#include <string.h>

#include "load/gguf_arch.h"

struct writer { nc_gguf_meta *meta; const char *architecture; const nc_json *config; };

static const char *key_of(const struct writer *w, const char *key, char out[128])
{
    snprintf(out, 128, "%s.%s", w->architecture, key);
    return out;
}

static void number(const struct writer *w, const char *key, int64_t v)
{
    char name[128];
    nc_gguf_set_int(w->meta, key_of(w, key, name), NC_GGUF_U32, v);
}

/* ggml's llama_ftype, "mostly" this type. */
static int file_type(nc_dtype to)
{
    switch (to) {
    case NC_F32: return 0;
    case NC_F16: return 1;
    case NC_Q4_0: return 2;
    case NC_Q8_0: return 7;
    default: return 32;              /* BF16 */
    }
}

static void general(nc_gguf_meta *meta, const nc_loaded *l, const char *architecture, const char *type, nc_dtype to)
{
    nc_gguf_set_string(meta, "general.architecture", nc_str_of(architecture));
    nc_gguf_set_string(meta, "general.type", nc_str_of(type));
    nc_gguf_set_string(meta, "general.name", nc_str_of(nc_path_base(l->folder)));
    nc_gguf_set_int(meta, "general.file_type", NC_GGUF_U32, file_type(to));
    nc_gguf_set_int(meta, "general.quantization_version", NC_GGUF_U32, 2);
}

void nc_gguf_meta_decoder(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to)
{
    const nc_gguf_arch *arch = nc_gguf_arch_of(l->model);
    general(meta, l, arch->name, "model", to);
    nc_gguf_write_words(meta, arch, l->model);
    if (!l->tokenizer)                                   /* else llama.cpp counts the tokens */
        number(&(struct writer){ meta, arch->name, l->config }, "vocab_size", l->model->vocab_size);
}

void nc_gguf_meta_extra(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to) { general(meta, l, nc_gguf_arch_of(l->model)->name, "nunchi.extra", to); }

static void colors(nc_gguf_meta *meta, const nc_loaded *l)
{
    const nc_processor *p = l->image ? l->image : l->video;
    double mean[3] = { 0.5, 0.5, 0.5 }, std[3] = { 0.5, 0.5, 0.5 };
    float m[3], s[3];
    if (p)
        nc_processor_colors(p, mean, std);
    for (int i = 0; i < 3; i++)
        m[i] = (float)mean[i], s[i] = (float)std[i];
    nc_gguf_set_numbers(meta, "clip.vision.image_mean", NC_GGUF_F32, m, 3);
    nc_gguf_set_numbers(meta, "clip.vision.image_std", NC_GGUF_F32, s, 3);
}

static void longest_edge(nc_gguf_meta *meta, const nc_loaded *l)
{
    const int edge = l->image ? nc_processor_longest(l->image) : 0;
    nc_gguf_set_int(meta, "clip.vision.preproc_image_size", NC_GGUF_U32, edge > 0 ? edge : nc_json_int(nc_json_path(l->config, "vision_config.image_size"), 224));
}

void nc_gguf_meta_tower(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to)
{
    const nc_gguf_tower *tower = nc_gguf_tower_of(l->model);
    const bool fits = nc_gguf_tower_fits(l->model);
    general(meta, l, fits ? "clip" : "nunchi", "mmproj", to);
    if (!fits) {                                         /* clip.cpp holds it in another form */
        nc_gguf_own_words(meta, l->config);
        return;
    }
    nc_gguf_write_tower_words(meta, tower, l->model);
    if (tower->edge)
        longest_edge(meta, l);
    colors(meta, l);
}
