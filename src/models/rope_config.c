/* rope_config.c - rotary settings as transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters) write them. */
#include "models/rope_config.h"

static void read_scaling(nc_config *c, nc_rope_scaling *s)
{
    s->type = nc_config_string(c, "rope_type", nc_config_string(c, "type", "default"));
    s->theta = nc_config_float(c, "rope_theta", s->theta);
    s->factor = nc_config_float(c, "factor", 1);
    s->low_freq_factor = nc_config_float(c, "low_freq_factor", 1);
    s->high_freq_factor = nc_config_float(c, "high_freq_factor", 4);
    s->attention_factor = nc_config_float(c, "attention_factor", 0);
    s->beta_fast = nc_config_float(c, "beta_fast", 32);
    s->beta_slow = nc_config_float(c, "beta_slow", 1);
    s->mscale = nc_config_float(c, "mscale", 0);
    s->mscale_all_dim = nc_config_float(c, "mscale_all_dim", 0);
    s->truncate = nc_config_bool(c, "truncate", true);
    s->original_max_positions = (int)nc_config_int(c, "original_max_position_embeddings", s->original_max_positions);
    if (!(s->theta > 0) || !(s->factor > 0))
        nc_config_mistake(c, "rope_theta and factor must be over 0");
}

void nc_config_rope(nc_config *r, int width, int max_positions, double default_theta, nc_rope_style style, nc_rope_spec *out)
{
    nc_rope_scaling s = { .type = "default", .factor = 1, .max_positions = max_positions, .original_max_positions = max_positions, .truncate = true };
    s.theta = nc_config_float(r, "rope_theta", default_theta);
    nc_config *old = nc_config_child(r, "rope_scaling"), *new = nc_config_child(r, "rope_parameters");
    if (old)
        read_scaling(old, &s);
    if (new)
        read_scaling(new, &s);
    nc_error e = { 0 };
    if (nc_rope_make(out, width, style, &s, &e) < 0)
        nc_config_mistake(r, "%s", e.message);
}
