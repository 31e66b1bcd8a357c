/* qwen3_vl.c - Qwen3-VL (Qwen team 2025): Qwen3's decoder with interleaved M-RoPE; a tower with interpolated positions; features of some of its blocks are added behind
 * the decoder's first ones (deepstack, Meng et al. 2024); time stamps in the text stand between a video's frames.
 *
 * Easy to get wrong: the table of positions is stretched corner to corner; a frame of a video takes its positions as a picture does, its time is in the text.
 */
#include <math.h>

#include "models/qwen_vl.h"

static void read_deep(nc_model *m, nc_qwen_vl *c, nc_config *v)
{
    static const int usual[] = { 8, 16, 24 };
    const nc_json *list = nc_config_get(v, "deepstack_visual_indexes");
    int count = list ? list->count : NC_COUNT(usual);
    c->deep = NC_NEW_ARRAY(m->arena, int, count + 1);
    for (int i = 0; i < count; i++) {
        c->deep[i] = list ? (int)nc_json_int(nc_json_at(list, i), -1) : usual[i];
        if (c->deep[i] < 0 || c->deep[i] >= c->depth)
            nc_config_mistake(v, "deepstack_visual_indexes names block %d of %d", c->deep[i], c->depth);
    }
    c->deep_count = count;
    if (count > c->text.layers)
        nc_config_mistake(v, "%d deepstack features for a decoder of %d layers", count, c->text.layers);
}

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_qwen_vl *c = self;
    nc_config *text, *v = nc_qwen_vl_config(m, c, r, &text);
    c->text.qk_norm = true;
    c->text.head_dim = 128;
    c->text.scope = "model.language_model.";
    c->text.mrope = true;
    nc_llama_config(m, &c->text, text, 5e5);
    nc_error e = { 0 };
    if (c->text.rope.axes == 0 && nc_rope_sections(&c->text.rope, (int[]){ 24, 20, 20 }, true, &e) < 0)
        nc_config_mistake(r, "%s", e.message);
    if (!v)
        return;
    c->scope = "model.visual.";
    c->mlp_names[0] = "mlp.linear_fc1", c->mlp_names[2] = "mlp.linear_fc2";
    c->merger_names[0] = "norm", c->merger_names[1] = "linear_fc1", c->merger_names[2] = "linear_fc2";
    c->patch_bias = c->frames_apart = true;
    c->width = (int)nc_config_int(v, "hidden_size", 1152);
    c->inner = (int)nc_config_int(v, "intermediate_size", 4304);
    c->out = (int)nc_config_int(v, "out_hidden_size", 3584);
    c->activation = (nc_unary)nc_config_activation(v, "hidden_act", "gelu_pytorch_tanh");
    c->side = (int)sqrt((double)nc_config_int(v, "num_position_embeddings", 2304));
    if (c->side < 1)
        nc_config_mistake(v, "num_position_embeddings must be at least 1");
    read_deep(m, c, v);
    nc_qwen_vl_check(m, c, v);
}

static const char *const renames[] = { "language_model.", "model.language_model.", "visual.", "model.visual.", "model.", "model.language_model.", NULL };

const nc_family nc_family_qwen3_vl = {
    .name = "qwen3_vl", .architectures = "Qwen3VLForConditionalGeneration", .config = config, .renames = renames, NC_QWEN_VL_KIN,
};
