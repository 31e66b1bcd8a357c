/* rope.c - inv_freq[i] = theta^(-2i/width), scaled:
 *
 *   linear   f / factor
 *   llama3   f / factor below the low frequency, f above the high one, blended between (Llama 3.1)
 *   yarn     f / factor and f blended by a ramp between the dimensions whose wavelengths make beta_fast and beta_slow turns in the original context;
 *            cos and sin times 0.1 ln(factor) + 1 unless the config gives attention_factor or mscale
 * All arithmetic in float32 in the reference's order, since a last-bit change of a frequency grows with the position.
 */
#include "nn/rope.h"

#include <math.h>

static void frequencies(nc_rope_spec *out, int width, double theta)
{
    for (int i = 0; i < out->half; i++)
        out->inv_freq[i] = 1.0f / (float)pow(theta, (double)((float)(2 * i) / (float)width));
}

static void scale_llama3(nc_rope_spec *out, const nc_rope_scaling *s)
{
    double low_wave = s->original_max_positions / s->low_freq_factor, high_wave = s->original_max_positions / s->high_freq_factor;
    for (int i = 0; i < out->half; i++) {
        float f = out->inv_freq[i];
        double wave = 2 * M_PI / (double)f;
        if (wave > low_wave) {
            out->inv_freq[i] = f / (float)s->factor;
        } else if (wave >= high_wave) {
            float smooth = (float)((s->original_max_positions / wave - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor));
            out->inv_freq[i] = (1 - smooth) * (f / (float)s->factor) + smooth * f;
        }
    }
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

/* The dimension whose wavelength makes `turns` turns within the original context. */
static double yarn_dimension(double turns, int width, double theta, int positions)
{
    return width * log(positions / (turns * 2 * M_PI)) / (2 * log(theta));
}

static void scale_yarn(nc_rope_spec *out, int width, const nc_rope_scaling *s)
{
    double low = yarn_dimension(s->beta_fast, width, s->theta, s->original_max_positions);
    double high = yarn_dimension(s->beta_slow, width, s->theta, s->original_max_positions);
    if (s->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low < 0 ? 0 : low;
    high = high > width - 1 ? width - 1 : high;
    if (low == high)
        high += 0.001;
    for (int i = 0; i < out->half; i++) {
        float ramp = (float)((i - low) / (high - low));
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        float f = out->inv_freq[i], kept = 1 - ramp;
        out->inv_freq[i] = f / (float)s->factor * (1 - kept) + f * kept;
    }
    if (s->attention_factor > 0)
        out->factor = s->attention_factor;
    else if (s->mscale > 0 && s->mscale_all_dim > 0)
        out->factor = yarn_mscale(s->factor, s->mscale) / yarn_mscale(s->factor, s->mscale_all_dim);
    else
        out->factor = yarn_mscale(s->factor, 1);
}

int nc_rope_make(nc_rope_spec *out, int width, nc_rope_style style, const nc_rope_scaling *s, nc_error *e)
{
    *out = (nc_rope_spec){ .half = width / 2, .style = style, .factor = 1 };
    if (width < 2 || width % 2 || width / 2 > NC_ROPE_MAX_HALF)
        return nc_fail(e, NC_EUNSUPPORTED, "a rotary width of %d: it must be even and at most %d", width, 2 * NC_ROPE_MAX_HALF);
    frequencies(out, width, s->theta);
    if (!strcmp(s->type, "default"))
        return 0;
    if (!strcmp(s->type, "linear")) {
        for (int i = 0; i < out->half; i++)
            out->inv_freq[i] /= (float)s->factor;
        return 0;
    }
    if (!strcmp(s->type, "llama3")) {
        scale_llama3(out, s);
        return 0;
    }
    if (!strcmp(s->type, "yarn")) {
        scale_yarn(out, width, s);
        return 0;
    }
    return nc_fail(e, NC_EUNSUPPORTED, "rope_type '%s' is not known here (default, linear, llama3, yarn are)", s->type);
}

nc_rope_rows nc_rope_rows_of(nc_build *b, const nc_rope_spec *s, nc_value *pos)
{
    nc_value *t = nc_rope_table(b->g, pos, s->inv_freq, NULL, s->half, s->factor);
    return (nc_rope_rows){ nc_output(t, 0), nc_output(t, 1), s->style };
}

nc_value *nc_rope_apply(nc_build *b, nc_value *x, nc_rope_rows r)
{
    return nc_rope(b->g, x, r.cos, r.sin, r.style);
}
