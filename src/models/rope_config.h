/* rope_config.h - reads the rotary keys of a decoder's config into a spec for `width` rotated channels. */
#ifndef NC_MODELS_ROPE_CONFIG_H
#define NC_MODELS_ROPE_CONFIG_H
#include "models/config.h"
#include "nn/rope.h"
void nc_config_rope(nc_config *r, int width, int max_positions, double default_theta, nc_rope_style style, nc_rope_spec *out);
#endif
