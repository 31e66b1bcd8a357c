/* rope.h - rotary position schemes as options of one place: default, linear, dynamic, llama3, yarn, longrope.
 *
 * Su et al. 2021 (RoFormer); scaling rules: YaRN (Peng et al. 2023), LongRoPE (Ding et al. 2024), Llama 3.1's frequency blend.
 * A spec holds the frequencies [rot/2] and the factor on cos and sin; where both depend on the sequence's length (dynamic, longrope) two regimes exist. */
#ifndef NC_NN_ROPE_H
#define NC_NN_ROPE_H
#include "nn/build.h"

enum { NC_ROPE_MAX_HALF = 256 };
typedef struct nc_rope_spec {
    int half;                        /* rotated pairs: rotary width / 2 */
    nc_rope_style style;
    double factor;                   /* on cos and sin */
    float inv_freq[NC_ROPE_MAX_HALF];
    /* Kinds whose frequencies depend on how long the whole sequence is: beyond `limit` positions LongRoPE has a second list, dynamic NTK a base that grows. */
    enum { NC_ROPE_ANY_LENGTH, NC_ROPE_LONG, NC_ROPE_DYNAMIC } kind;
    int limit;
    double theta, stretch;           /* dynamic */
    int axes, axis_of[NC_ROPE_MAX_HALF];   /* positions with several axes: which one each frequency follows. axes 0 or 1: one */
    float long_freq[NC_ROPE_MAX_HALF];
} nc_rope_spec;

/* Scaling as config.json spells it; read by models/rope_config.c. */
typedef struct nc_rope_scaling {
    const char *type;                /* "default" (or "mrope"), "linear", "dynamic", "llama3", "yarn", "longrope" */
    double theta, factor, low_freq_factor, high_freq_factor, attention_factor, beta_fast, beta_slow, mscale, mscale_all_dim;
    int original_max_positions, max_positions;
    bool truncate;                   /* yarn: ramp bounds rounded outward */
    float short_factor[NC_ROPE_MAX_HALF], long_factor[NC_ROPE_MAX_HALF];      /* longrope */
    int short_factors, long_factors;
    int section[3], sections;        /* M-RoPE */
    bool interleaved;
} nc_rope_scaling;

/* Frequencies for a rotary width of `width` (even). Unknown type: NC_EUNSUPPORTED. */
int nc_rope_make(nc_rope_spec *out, int width, nc_rope_style style, const nc_rope_scaling *s, nc_error *e);

/* M-RoPE (Qwen2-VL): the frequencies share out time, height and width, section[0..2] of each: one after another, or interleaved (t h w t h w ..., what is left over t). */
int nc_rope_sections(nc_rope_spec *s, const int section[3], bool interleaved, nc_error *e);
/* Patches in a plane (row, column): the first half of the pairs turns by the row, the second by the column, both over theta^(-2i / (width / 2)). */
int nc_rope_make_plane(nc_rope_spec *out, int width, double theta, nc_error *e);

/* Tables "rope.cos" and "rope.sin" of a step, [tokens, half], where they depend on the sequences' lengths; else nothing. */
void nc_rope_prepare(const nc_rope_spec *s, nc_batch *batch, const nc_seq *seqs, int count);
/* Keys written while a sequence was in one regime are of no use in another: LongRoPE 1 beyond the limit, else 0. Dynamic NTK keeps old keys, as the reference does. */
int nc_rope_regime(const nc_rope_spec *s, int length);

/* cos and sin rows for the positions of a stream; made once a graph, used by every layer. */
typedef struct nc_rope_rows { nc_value *cos, *sin; nc_rope_style style; } nc_rope_rows;
nc_rope_rows nc_rope_rows_of(nc_build *b, const nc_rope_spec *s, nc_value *pos);
nc_value *nc_rope_apply(nc_build *b, nc_value *x, nc_rope_rows r);                /* x [N,H,A] */
#endif
