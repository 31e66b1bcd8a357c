/* rope_config.c - rotary settings as transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters, for some families nested by layer type) write them. */
#include "models/rope_config.h"

static void read_factors(nc_config *c, const char *key, float *list, int *count)
{
    const nc_json *v = nc_config_get(c, key);
    NC_JSON_EACH(item, v) {
        double f = nc_json_double(item, 0);
        if (*count == NC_ROPE_MAX_HALF || !(f > 0)) {
            nc_config_mistake(c, "line %d: \"%s\" must be at most %d numbers over 0", item->line, key, NC_ROPE_MAX_HALF);
            return;
        }
        list[(*count)++] = (float)f;
    }
}

static void read_scaling(nc_config *c, nc_rope_scaling *s, double *share)
{
    s->type = nc_config_string(c, "rope_type", nc_config_string(c, "type", "default"));
    nc_config_get(c, "type");
    s->theta = nc_config_float(c, "rope_theta", s->theta);
    s->factor = nc_config_float(c, "factor", s->factor);
    s->low_freq_factor = nc_config_float(c, "low_freq_factor", 1);
    s->high_freq_factor = nc_config_float(c, "high_freq_factor", 4);
    s->attention_factor = nc_config_float(c, "attention_factor", 0);
    s->beta_fast = nc_config_float(c, "beta_fast", 32);
    s->beta_slow = nc_config_float(c, "beta_slow", 1);
    s->mscale = nc_config_float(c, "mscale", 0);
    s->mscale_all_dim = nc_config_float(c, "mscale_all_dim", 0);
    s->truncate = nc_config_bool(c, "truncate", true);
    s->original_max_positions = (int)nc_config_int(c, "original_max_position_embeddings", s->original_max_positions);
    *share = nc_config_float(c, "partial_rotary_factor", *share);
    s->interleaved = nc_config_bool(c, "mrope_interleaved", s->interleaved);
    NC_JSON_EACH(item, nc_config_get(c, "mrope_section")) {
        if (s->sections == 3)
            nc_config_mistake(c, "line %d: \"mrope_section\" must be three numbers", item->line);
        else
            s->section[s->sections++] = (int)nc_json_int(item, -1);
    }
    read_factors(c, "short_factor", s->short_factor, &s->short_factors);
    read_factors(c, "long_factor", s->long_factor, &s->long_factors);
    if (!(s->factor >= 0))
        nc_config_mistake(c, "factor must not be under 0");
}

static void make(nc_config *r, int head_dim, double share, nc_rope_style style, const nc_rope_scaling *s, nc_rope_spec *out)
{
    nc_error e = { 0 };
    if (!(s->theta > 0))
        nc_config_mistake(r, "rope_theta must be over 0");
    else if (!(share > 0 && share <= 1))
        nc_config_mistake(r, "partial_rotary_factor must be over 0 and at most 1");
    else if (nc_rope_make(out, (int)(head_dim * share), style, s, &e) < 0)
        nc_config_mistake(r, "%s", e.message);
    else if (s->sections && nc_rope_sections(out, s->section, s->interleaved, &e) < 0)
        nc_config_mistake(r, "%s", e.message);
}

void nc_config_rope(nc_config *r, int head_dim, double share, int max_positions, double default_theta, nc_rope_style style, nc_rope_spec *out)
{
    nc_rope_scaling s = { .type = "default", .max_positions = max_positions, .truncate = true };
    share = nc_config_float(r, "partial_rotary_factor", share);
    s.theta = nc_config_float(r, "rope_theta", default_theta);
    s.original_max_positions = (int)nc_config_int(r, "original_max_position_embeddings", max_positions);
    const nc_json *by_type = nc_config_get(r, "rope_parameters");
    nc_config *old = nc_config_child(r, "rope_scaling"), *new = by_type && nc_json_get(by_type, "full_attention") ? NULL : nc_config_child(r, "rope_parameters");
    if (!new && by_type) {
        nc_config *both = nc_config_child(r, "rope_parameters");
        nc_config_get(both, "sliding_attention");        /* nc_config_sliding_rope reads it */
        new = nc_config_child(both, "full_attention");
    }
    if (old)
        read_scaling(old, &s, &share);
    if (new)
        read_scaling(new, &s, &share);
    make(r, head_dim, share, style, &s, out);
}

void nc_config_sliding_rope(nc_config *r, int head_dim, int max_positions, double theta, nc_rope_style style, nc_rope_spec *out)
{
    nc_rope_scaling s = { .type = "default", .theta = theta, .max_positions = max_positions, .original_max_positions = max_positions, .truncate = true };
    const nc_json *own = nc_json_get(nc_config_get(r, "rope_parameters"), "sliding_attention");
    double share = 1;
    if (own) {
        nc_config *both = nc_config_child(r, "rope_parameters");
        nc_config_get(both, "full_attention");
        read_scaling(nc_config_child(both, "sliding_attention"), &s, &share);
    }
    make(r, head_dim, share, style, &s, out);
}
