/* pillow_operations.h - what Pillow's operations under their names share: they take a Pillow picture, not a tensor. Inside this folder only. */
#ifndef NC_MEDIA_AUGMENT_PILLOW_OPERATIONS_H
#define NC_MEDIA_AUGMENT_PILLOW_OPERATIONS_H
#include "media/augment/raster.h"

static inline int nc_augment_pillow(const nc_raster *x, nc_error *e)
{
    return x->tensor ? nc_fail(e, NC_EINVAL, "takes a Pillow picture: put it before PILToTensor and ToTensor, or after ToPILImage") : 0;
}

/* apply_<id>: `call` makes `out` of `in` by the parameters `p`. */
#define NC_AUGMENT_APPLY(id, type, call)                                                              \
    static int apply_##id(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)  \
    {                                                                                      \
        const type *p = parameters;                                                        \
        const nc_image *in = &x->image;                                                    \
        nc_image out;                                                                      \
        (void)rng;                                                                         \
        (void)p;                                                                           \
        NC_TRY(nc_augment_pillow(x, e));                                                   \
        NC_TRY(call);                                                                      \
        nc_raster_take(x, &out);                                                           \
        return 0;                                                                          \
    }
#endif
