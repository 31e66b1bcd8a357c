/* recurrent.h - recurrences over the rows of the text stream: where their states lie, and the pieces that decoders without attention share.
 *
 * A layer's state has a fixed place in its sequence's slot, in the order in which layers are built; nc_cache_need.state is the sum of all.
 * Recurrences compute in the wide type (f32): what goes in is widened, what comes out is the caller's to narrow.
 */
#ifndef NC_NN_RECURRENT_H
#define NC_NN_RECURRENT_H
#include "nn/build.h"

/* Attributes of a recurrent op that keeps so many floats for a sequence. */
nc_recurrent_attr nc_recur(nc_build *b, int64_t floats);
nc_value *nc_widen(nc_build *b, nc_value *x);                                    /* to f32 (f64 in an f64 graph) */
nc_value *nc_narrow(nc_build *b, nc_value *x);                                   /* to the compute type */
nc_value *nc_site_wide(nc_build *b, nc_site *s);                                 /* a site's value, widened; NULL gives NULL */
/* Depthwise causal convolution of x [N,C] (widened) by w [C,1,T] and bias (NULL: none); nc_causal_conv_state(C, T) floats. */
nc_value *nc_short_conv(nc_build *b, nc_value *x, nc_site *w, nc_site *bias);
/* The row before in the sequence, zero at its start; C floats. */
nc_value *nc_row_before(nc_build *b, nc_value *x);
#endif
