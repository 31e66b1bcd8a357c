/* gguf_names.c - canonical names to llama.cpp's. Source: gguf-py's constants.py and tensor_mapping.py; for LLaVA's tower and projector, the names that
 * clip.cpp reads (mm.0 and mm.2 are the two products of the projector). */
#include "load/gguf_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair { const char *from, *to; };

static const struct pair text_names[] = {
    { "model.embed_tokens.", "token_embd." }, { "model.norm.", "output_norm." }, { "lm_head.", "output." },
    { "transformer.wte.", "token_embd." }, { "transformer.wpe.", "position_embd." }, { "transformer.ln_f.", "output_norm." },
};
static const struct pair text_blocks[] = {
    { "input_layernorm.", "attn_norm." }, { "self_attn.q_proj.", "attn_q." }, { "self_attn.k_proj.", "attn_k." }, { "self_attn.v_proj.", "attn_v." },
    { "self_attn.o_proj.", "attn_output." }, { "self_attn.q_norm.", "attn_q_norm." }, { "self_attn.k_norm.", "attn_k_norm." },
    { "post_attention_layernorm.", "ffn_norm." }, { "mlp.gate_proj.", "ffn_gate." }, { "mlp.up_proj.", "ffn_up." }, { "mlp.down_proj.", "ffn_down." },
    { "ln_1.", "attn_norm." }, { "attn.c_attn.", "attn_qkv." }, { "attn.c_proj.", "attn_output." }, { "ln_2.", "ffn_norm." }, { "mlp.c_fc.", "ffn_up." }, { "mlp.c_proj.", "ffn_down." },
};
static const struct pair media_names[] = {
    { "vision_model.embeddings.class_embedding", "v.class_embd" }, { "vision_model.embeddings.patch_embedding.", "v.patch_embd." },
    { "vision_model.embeddings.position_embedding.", "v.position_embd." }, { "vision_model.pre_layrnorm.", "v.pre_ln." }, { "vision_model.post_layernorm.", "v.post_ln." },
    { "multi_modal_projector.linear_1.", "mm.0." }, { "multi_modal_projector.linear_2.", "mm.2." }, { "image_newline", "model.image_newline" },
};
static const struct pair media_blocks[] = {
    { "self_attn.q_proj.", "attn_q." }, { "self_attn.k_proj.", "attn_k." }, { "self_attn.v_proj.", "attn_v." }, { "self_attn.out_proj.", "attn_out." },
    { "layer_norm1.", "ln1." }, { "layer_norm2.", "ln2." }, { "mlp.fc1.", "ffn_up." }, { "mlp.fc2.", "ffn_down." },
};

/* "prefix" + rest with the first matching pair; false when none matches. */
static bool renamed(const char *name, const struct pair *pairs, int count, const char *prefix, char out[64])
{
    for (int i = 0; i < count; i++)
        if (nc_starts_with(name, pairs[i].from))
            return snprintf(out, 64, "%s%s%s", prefix, pairs[i].to, name + strlen(pairs[i].from)) < 64;
    return false;
}

/* The layer of "<head>12.rest" and the rest; NULL when name does not start so. */
static const char *layer_of(const char *name, const char *head, int *layer)
{
    char *end;
    if (!nc_starts_with(name, head))
        return NULL;
    long n = strtol(name + strlen(head), &end, 10);
    if (end == name + strlen(head) || *end != '.' || n < 0 || n > 100000)
        return NULL;
    *layer = (int)n;
    return end + 1;
}

static bool text_name(const char *name, char out[64])
{
    static const char *const heads[] = { "model.layers.", "transformer.h." };
    for (int i = 0; i < NC_COUNT(heads); i++) {
        int layer;
        char prefix[32];
        const char *rest = layer_of(name, heads[i], &layer);
        snprintf(prefix, sizeof prefix, "blk.%d.", rest ? layer : 0);
        if (rest && renamed(rest, text_blocks, NC_COUNT(text_blocks), prefix, out))
            return true;
    }
    return renamed(name, text_names, NC_COUNT(text_names), "", out);
}

static bool media_name(const char *name, char out[64])
{
    int layer;
    char prefix[32];
    if (nc_starts_with(name, "vision_tower."))
        name += strlen("vision_tower.");
    const char *rest = layer_of(name, "vision_model.encoder.layers.", &layer);
    snprintf(prefix, sizeof prefix, "v.blk.%d.", rest ? layer : 0);
    return rest ? renamed(rest, media_blocks, NC_COUNT(media_blocks), prefix, out) : renamed(name, media_names, NC_COUNT(media_names), "", out);
}

const nc_json *nc_gguf_text_config(const nc_model *m)
{
    const nc_json *text = nc_json_get(m->config, "text_config");
    return text ? text : m->config;
}

/* Rows of a head where they are permuted: q and k of what llama.cpp calls llama. */
static int permuted(const nc_model *m, const nc_site *s, const char *name)
{
    const nc_json *text = nc_gguf_text_config(m);
    const char *type = nc_json_string(nc_json_get(text, "model_type"), m->family->name);
    int64_t heads = nc_json_int(nc_json_get(text, "num_attention_heads"), 0);
    if (strcmp(type, "llama") && strcmp(type, "mistral"))
        return 0;
    if (strstr(name, ".self_attn.k_proj."))
        heads = nc_json_int(nc_json_get(text, "num_key_value_heads"), heads);
    else if (!strstr(name, ".self_attn.q_proj."))
        return 0;
    return heads > 0 && s->shape.dim[0] % (2 * heads) == 0 ? (int)(s->shape.dim[0] / heads) : 0;
}

int nc_gguf_name_of(const nc_model *m, const nc_site *s, nc_gguf_name *out, nc_error *e)
{
    const char *name = s->name;
    bool is_media = m->family->tower != NULL, is_text = !is_media || nc_starts_with(name, "language_model.");
    (void)e;
    *out = (nc_gguf_name){ .mmproj = !is_text };
    if (is_media && is_text)
        name += strlen("language_model.");
    if (is_text ? text_name(name, out->name) : media_name(name, out->name)) {
        out->rotary = is_text ? permuted(m, s, name) : 0;
        return 0;
    }
    if (strlen(name) < sizeof out->name)
        strcpy(out->name, name);
    else
        snprintf(out->name, sizeof out->name, "nunchi.%d", s->index);
    return 0;
}

int64_t nc_gguf_file_row(int rotary, int64_t row)
{
    if (!rotary)
        return row;
    int64_t head = row / rotary, within = row % rotary, half = rotary / 2;
    return head * rotary + within % half * 2 + within / half;
}

int64_t nc_gguf_site_row(int rotary, int64_t row)
{
    if (!rotary)
        return row;
    int64_t head = row / rotary, within = row % rotary;
    return head * rotary + within % 2 * (rotary / 2) + within / 2;
}
