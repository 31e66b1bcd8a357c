/* rope.c - inv_freq[i] = theta^(-2i/width), scaled:
 *
 *   linear   f / factor
 *   llama3   f / factor below the low frequency, f above the high one, blended between (Llama 3.1)
 *   yarn     f / factor and f blended by a ramp between the dimensions whose wavelengths make beta_fast and beta_slow turns in the original context;
 *            cos and sin times 0.1 ln(factor) + 1 unless the config gives attention_factor or mscale
 *   dynamic  beyond max positions, theta' = theta (factor L / max - (factor - 1))^(w/(w-2)) for a sequence of L
 *   longrope f / short_factor up to the original context, f / long_factor for longer sequences; cos and sin times sqrt(1 + ln(max / original) / ln(original))
 * All arithmetic in float32 in the reference's order, since a last-bit change of a frequency grows with the position.
 */
#include "nn/rope.h"

#include <math.h>

static void frequencies(float *out, int half, double theta)
{
    for (int i = 0; i < half; i++)
        out[i] = 1.0f / (float)pow(theta, (double)((float)(2 * i) / (float)(2 * half)));
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

static int scale_longrope(nc_rope_spec *out, const nc_rope_scaling *s, nc_error *e)
{
    int original = s->original_max_positions;
    double factor = s->factor > 0 ? s->factor : original > 0 ? (double)s->max_positions / original : 1;
    if (s->short_factors != out->half || s->long_factors != out->half || original < 2)
        return nc_fail(e, NC_EINVAL, "longrope: short_factor has %d numbers and long_factor %d, both must have %d; original_max_position_embeddings is %d", s->short_factors,
                       s->long_factors, out->half, original);
    for (int i = 0; i < out->half; i++) {
        float power = (float)pow(s->theta, (double)((float)(2 * i) / (float)(2 * out->half)));
        out->inv_freq[i] = 1.0f / (s->short_factor[i] * power);
        out->long_freq[i] = 1.0f / (s->long_factor[i] * power);
    }
    out->kind = NC_ROPE_LONG;
    out->limit = original;
    out->factor = s->attention_factor > 0 ? s->attention_factor : factor > 1 ? sqrt(1 + log(factor) / log(original)) : 1;
    return 0;
}

int nc_rope_make(nc_rope_spec *out, int width, nc_rope_style style, const nc_rope_scaling *s, nc_error *e)
{
    *out = (nc_rope_spec){ .half = width / 2, .style = style, .factor = 1 };
    if (width < 2 || width % 2 || width / 2 > NC_ROPE_MAX_HALF)
        return nc_fail(e, NC_EUNSUPPORTED, "a rotary width of %d: it must be even and at most %d", width, 2 * NC_ROPE_MAX_HALF);
    frequencies(out->inv_freq, out->half, s->theta);
    if (!strcmp(s->type, "default") || !strcmp(s->type, "mrope"))
        return 0;
    if (strcmp(s->type, "longrope") && strcmp(s->type, "su") && !(s->factor > 0))
        return nc_fail(e, NC_EINVAL, "rope_type '%s' needs a factor over 0", s->type);
    if (!strcmp(s->type, "dynamic") && (s->max_positions < 1 || width < 4))
        return nc_fail(e, NC_EINVAL, "rope_type 'dynamic' needs max_position_embeddings and more than 2 rotated channels");
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
    if (!strcmp(s->type, "dynamic")) {
        out->kind = NC_ROPE_DYNAMIC;
        out->limit = s->max_positions;
        out->theta = s->theta;
        out->stretch = s->factor;
        return 0;
    }
    if (!strcmp(s->type, "longrope") || !strcmp(s->type, "su"))
        return scale_longrope(out, s, e);
    return nc_fail(e, NC_EUNSUPPORTED, "rope_type '%s' is not known here (default, linear, dynamic, llama3, yarn, longrope are)", s->type);
}

int nc_rope_sections(nc_rope_spec *s, const int section[3], bool interleaved, nc_error *e)
{
    int64_t sum = (int64_t)section[0] + section[1] + section[2];
    if (section[0] < 0 || section[1] < 0 || section[2] < 0 || sum != s->half)
        return nc_fail(e, NC_EINVAL, "mrope_section [%d, %d, %d] must add up to the %d rotated pairs", section[0], section[1], section[2], s->half);
    if (s->kind != NC_ROPE_ANY_LENGTH)
        return nc_fail(e, NC_EUNSUPPORTED, "mrope_section does not go with frequencies that depend on the length");
    s->axes = 3;
    for (int i = 0; i < s->half; i++)
        s->axis_of[i] = interleaved ? (i % 3 && i < 3 * section[i % 3] ? i % 3 : 0) : i < section[0] ? 0 : i < section[0] + section[1] ? 1 : 2;
    return 0;
}

int nc_rope_make_plane(nc_rope_spec *out, int width, double theta, nc_error *e)
{
    *out = (nc_rope_spec){ .half = width / 2, .style = NC_ROPE_HALVES, .factor = 1, .axes = 2 };
    if (width < 4 || width % 4 || width / 2 > NC_ROPE_MAX_HALF)
        return nc_fail(e, NC_EUNSUPPORTED, "heads of %d channels: rotation in a plane needs a multiple of 4, at most %d", width, 2 * NC_ROPE_MAX_HALF);
    frequencies(out->inv_freq, width / 4, theta);
    for (int i = 0; i < out->half; i++) {
        out->inv_freq[i] = out->inv_freq[i % (width / 4)];
        out->axis_of[i] = i >= width / 4;
    }
    return 0;
}

int nc_rope_regime(const nc_rope_spec *s, int length)
{
    return s->kind == NC_ROPE_LONG && length > s->limit;
}

static void length_frequencies(const nc_rope_spec *s, int length, float *out)
{
    bool beyond = length > s->limit;
    if (beyond && s->kind == NC_ROPE_DYNAMIC) {
        double width = 2 * s->half, theta = s->theta * pow(s->stretch * length / s->limit - (s->stretch - 1), width / (width - 2));
        frequencies(out, s->half, theta);
    } else {
        memcpy(out, beyond ? s->long_freq : s->inv_freq, sizeof *out * (size_t)s->half);
    }
}

void nc_rope_prepare(const nc_rope_spec *s, nc_batch *batch, const nc_seq *seqs, int count)
{
    float freq[NC_ROPE_MAX_HALF];
    int64_t tokens = 0;
    if (s->kind == NC_ROPE_ANY_LENGTH)
        return;
    for (int i = 0; i < count; i++)
        tokens += seqs[i].count;
    float *cosine = nc_batch_f32(batch, "rope.cos", tokens, s->half), *sine = nc_batch_f32(batch, "rope.sin", tokens, s->half);
    for (int i = 0; i < count; i++) {
        int end = seqs[i].start + seqs[i].count;
        length_frequencies(s, seqs[i].length > end ? seqs[i].length : end, freq);
        for (int j = seqs[i].start; j < end; j++)
            for (int k = 0; k < s->half; k++) {
                double angle = (float)j * freq[k];
                *cosine++ = (float)cos(angle) * (float)s->factor;
                *sine++ = (float)sin(angle) * (float)s->factor;
            }
    }
}

nc_rope_rows nc_rope_rows_of(nc_build *b, const nc_rope_spec *s, nc_value *pos)
{
    if (s->kind != NC_ROPE_ANY_LENGTH)
        return (nc_rope_rows){ nc_in(b, "rope.cos", NC_F32, "tokens", s->half), nc_in(b, "rope.sin", NC_F32, "tokens", s->half), s->style };
    nc_value *t = nc_rope_table(b->g, pos, s->inv_freq, s->axes > 1 ? s->axis_of : NULL, s->half, s->factor);
    return (nc_rope_rows){ nc_output(t, 0), nc_output(t, 1), s->style };
}

nc_value *nc_rope_apply(nc_build *b, nc_value *x, nc_rope_rows r)
{
    return nc_rope(b->g, x, r.cos, r.sin, r.style);
}
