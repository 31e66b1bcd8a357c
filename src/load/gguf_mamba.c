/* gguf_mamba.c - Mamba and Mamba-2. llama.cpp keeps A itself, -exp(A_log), and the convolution without its axis of one; Mamba-2's A and D are columns, its gated norm has a
 * row for each group. */
#include "load/gguf_arch.h"

#define BLOCK(site, file, part) { "backbone.layers.#." site, "blk.#." file, part }
#define SHARED \
    { "backbone.embeddings.", "token_embd.", NULL }, { "backbone.norm_f.", "output_norm.", NULL }, { "lm_head.", "output.", NULL }, BLOCK("norm.", "attn_norm.", NULL), \
    BLOCK("mixer.in_proj.", "ssm_in.", NULL), BLOCK("mixer.out_proj.", "ssm_out.", NULL), BLOCK("mixer.conv1d.weight", "ssm_conv1d.weight", nc_gguf_as_matrix), \
    BLOCK("mixer.conv1d.bias", "ssm_conv1d.bias", NULL)

static void decay_column(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    nc_gguf_as_matrix(ask, out);
    nc_gguf_decay(ask, out);
}

static void groups(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const int64_t n = nc_site_count(ask->site), count = nc_gguf_config_int(ask->config, "n_groups", 8);
    if (count > 0 && n % count == 0)
        out->part[0].shape = NC_SHAPE(count, n / count);
}

static const nc_gguf_rule mamba_rules[] = {
    SHARED, BLOCK("mixer.x_proj.", "ssm_x.", NULL), BLOCK("mixer.dt_proj.", "ssm_dt.", NULL), BLOCK("mixer.A_log", "ssm_a", nc_gguf_decay), BLOCK("mixer.D", "ssm_d", NULL),
    { NULL, NULL, NULL },
};
static const nc_gguf_rule mamba2_rules[] = {
    SHARED, BLOCK("mixer.dt_bias", "ssm_dt.bias", NULL), BLOCK("mixer.A_log", "ssm_a", decay_column), BLOCK("mixer.D", "ssm_d", nc_gguf_as_matrix), BLOCK("mixer.norm.", "ssm_norm.", groups),
    { NULL, NULL, NULL },
};

static const nc_gguf_word shared_words[] = {
    { "context_length", NC_GGUF_U32, "", "1048576" }, { "embedding_length", NC_GGUF_U32, "hidden_size|d_model", "768" }, { "feed_forward_length", NC_GGUF_U32, "", "0" },
    { "attention.head_count", NC_GGUF_U32, "", "0" }, { "block_count", NC_GGUF_U32, "num_hidden_layers|n_layer", "32" }, { "ssm.conv_kernel", NC_GGUF_U32, "conv_kernel", "4" },
    { "attention.layer_norm_rms_epsilon", NC_GGUF_F32, "layer_norm_epsilon", "1e-5" }, { NULL, 0, NULL, NULL },
};
static const nc_gguf_word mamba_words[] = { { "ssm.state_size", NC_GGUF_U32, "state_size", "16" }, { "ssm.dt_b_c_rms", NC_GGUF_BOOL, "", "0" }, { NULL, 0, NULL, NULL } };
static const nc_gguf_word mamba2_words[] = { { "ssm.state_size", NC_GGUF_U32, "state_size", "128" }, { "ssm.group_count", NC_GGUF_U32, "n_groups", "8" }, { NULL, 0, NULL, NULL } };

static int64_t inner_size(const nc_json *c)
{
    return nc_gguf_config_int(c, "intermediate_size", nc_gguf_config_int(c, "expand", 2) * nc_gguf_config_int(c, "hidden_size|d_model", 768));
}

static void mamba_more(const nc_gguf_words *w)
{
    const int64_t width = nc_gguf_config_int(w->config, "hidden_size|d_model", 768);
    nc_gguf_word_int(w, "ssm.inner_size", inner_size(w->config));
    nc_gguf_word_int(w, "ssm.time_step_rank", nc_gguf_config_int(w->config, "time_step_rank", (width + 15) / 16));
}

static void mamba2_more(const nc_gguf_words *w)
{
    const int64_t inner = nc_gguf_config_int(w->config, "expand", 2) * nc_gguf_config_int(w->config, "hidden_size", 4096);
    nc_gguf_word_int(w, "ssm.inner_size", inner);
    nc_gguf_word_int(w, "ssm.time_step_rank", nc_gguf_config_int(w->config, "num_heads", 128));
}

static int64_t back_shared(const nc_gguf_back *b)
{
    const int64_t width = nc_gguf_back_int(b, "embedding_length", 768), inner = nc_gguf_back_int(b, "ssm.inner_size", 2 * width);
    if (width > 0)
        nc_gguf_back_set_int(b, "expand", inner / width);
    nc_gguf_back_set_bool(b, "use_conv_bias", nc_gguf_back_has(b, "blk.0.ssm_conv1d.bias"));
    nc_gguf_back_set_bool(b, "use_bias", nc_gguf_back_has(b, "blk.0.ssm_in.bias"));
    return inner;
}

static void mamba_back(const nc_gguf_back *b)
{
    back_shared(b);
    nc_gguf_back_set_int(b, "time_step_rank", nc_gguf_back_int(b, "ssm.time_step_rank", 48));
}

static void mamba2_back(const nc_gguf_back *b)
{
    const int64_t heads = nc_gguf_back_int(b, "ssm.time_step_rank", 128), inner = back_shared(b);
    nc_gguf_back_set_int(b, "num_heads", heads);
    if (heads > 0)
        nc_gguf_back_set_int(b, "head_dim", inner / heads);
}

const nc_gguf_arch nc_gguf_arch_mamba = { .name = "mamba", .families = "mamba", .rules = { mamba_rules }, .words = { shared_words, mamba_words }, .more = mamba_more, .back = mamba_back };
const nc_gguf_arch nc_gguf_arch_mamba2 = { .name = "mamba2", .families = "mamba2", .rules = { mamba2_rules }, .words = { shared_words, mamba2_words }, .more = mamba2_more, .back = mamba2_back };
