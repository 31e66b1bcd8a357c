/* qwen2_vl.c - Qwen2-VL (Wang et al. 2024): Qwen2's decoder with M-RoPE over a tower with LayerNorm, plain MLPs and whole frames in sight.
 *
 * Easy to get wrong: vision_config.hidden_size is the decoder's width, embed_dim the tower's; in_chans says nothing (in_channels does).
 */
#include "models/qwen_vl.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_qwen_vl *c = self;
    nc_config *text, *v = nc_qwen_vl_config(m, c, r, &text);
    nc_qwen_vl_text(m, c, text);
    if (!v)
        return;
    c->scope = "visual.";
    c->mlp_names[0] = "mlp.fc1", c->mlp_names[2] = "mlp.fc2";
    c->merger_names[0] = "ln_q", c->merger_names[1] = "mlp.0", c->merger_names[2] = "mlp.2";
    c->width = (int)nc_config_int(v, "embed_dim", 1280);
    c->inner = (int)(c->width * nc_config_float(v, "mlp_ratio", 4));
    c->out = (int)nc_config_int(v, "hidden_size", 3584);
    c->activation = (nc_unary)nc_config_activation(v, "hidden_act", "quick_gelu");
    nc_qwen_vl_check(m, c, v);
}

static const char *const renames[] = { "model.language_model.", "model.", "model.visual.", "visual.", NULL };

const nc_family nc_family_qwen2_vl = {
    .name = "qwen2_vl", .architectures = "Qwen2VLForConditionalGeneration", .config = config, .renames = renames, NC_QWEN_VL_KIN,
};
