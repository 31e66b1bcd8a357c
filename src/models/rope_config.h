/* rope_config.h - reads the rotary keys of a decoder's config into a spec. */
#ifndef NC_MODELS_ROPE_CONFIG_H
#define NC_MODELS_ROPE_CONFIG_H
#include "models/config.h"
#include "nn/rope.h"
/* head_dim * share channels are rotated, where no partial_rotary_factor says otherwise. */
void nc_config_rope(nc_config *r, int head_dim, double share, int max_positions, double default_theta, nc_rope_style style, nc_rope_spec *out);
/* The rotation of the layers with a window, where those have their own: rope_parameters.sliding_attention, or unscaled with this base. After nc_config_rope. */
void nc_config_sliding_rope(nc_config *r, int head_dim, int max_positions, double theta, nc_rope_style style, nc_rope_spec *out);
#endif
