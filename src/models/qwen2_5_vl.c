/* qwen2_5_vl.c - Qwen2.5-VL (Bai et al. 2025): Qwen2-VL with RMS norms and SwiGLU in the tower, whose blocks see windows but for those of fullatt_block_indexes; a video's
 * time positions are seconds times tokens_per_second.
 *
 * Easy to get wrong: window_size is in pixels; a window is window_size / merge / patch merged units wide.
 */
#include "models/qwen_vl.h"

static void read_full(nc_model *m, nc_qwen_vl *c, nc_config *v)
{
    static const int usual[] = { 7, 15, 23, 31 };
    const nc_json *list = nc_config_get(v, "fullatt_block_indexes");
    c->full = NC_NEW_ARRAY(m->arena, bool, c->depth + 1);
    for (int i = 0; !list && i < NC_COUNT(usual); i++)
        if (usual[i] < c->depth)
            c->full[usual[i]] = true;
    NC_JSON_EACH(item, list) {
        int64_t i = nc_json_int(item, -1);
        if (i >= 0 && i < c->depth)
            c->full[i] = true;
    }
}

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_qwen_vl *c = self;
    nc_config *text, *v = nc_qwen_vl_config(m, c, r, &text);
    nc_qwen_vl_text(m, c, text);
    if (!v)
        return;
    c->scope = "visual.";
    c->mlp_names[0] = "mlp.gate_proj", c->mlp_names[1] = "mlp.up_proj", c->mlp_names[2] = "mlp.down_proj";
    c->merger_names[0] = "ln_q", c->merger_names[1] = "mlp.0", c->merger_names[2] = "mlp.2";
    c->rms = c->gated = true;
    c->width = (int)nc_config_int(v, "hidden_size", 3584);
    c->inner = (int)nc_config_int(v, "intermediate_size", 3420);
    c->out = (int)nc_config_int(v, "out_hidden_size", 3584);
    c->activation = (nc_unary)nc_config_activation(v, "hidden_act", "silu");
    c->tokens_per_second = nc_config_float(v, "tokens_per_second", 4);
    c->window = (int)nc_config_int(v, "window_size", 112);
    read_full(m, c, v);
    nc_qwen_vl_check(m, c, v);
    if (c->merge > 0 && c->patch > 0 && (c->window = c->window / c->merge / c->patch) < 1)
        nc_config_mistake(v, "window_size is smaller than %d patches of %d", c->merge, c->patch);
}

static const char *const renames[] = { "model.language_model.", "model.", "model.visual.", "visual.", NULL };

const nc_family nc_family_qwen2_5_vl = {
    .name = "qwen2_5_vl", .architectures = "Qwen2_5_VLForConditionalGeneration", .config = config, .renames = renames, NC_QWEN_VL_KIN,
};
