/* scalar.h - one number of a slot's storage, for the reference kernels. */
#ifndef NC_KERNELS_REF_SCALAR_H
#define NC_KERNELS_REF_SCALAR_H
#include "kernels/dtype.h"

static inline double nc_slot_get(nc_slot s, const void *p, int64_t i)
{
    return s == NC_SLOT_F32 ? (double)((const float *)p)[i] : s == NC_SLOT_BF16 ? (double)nc_bf16_to_f32(((const uint16_t *)p)[i]) : ((const double *)p)[i];
}
static inline void nc_slot_put(nc_slot s, void *p, int64_t i, double v)
{
    if (s == NC_SLOT_F32)
        ((float *)p)[i] = (float)v;
    else if (s == NC_SLOT_BF16)
        ((uint16_t *)p)[i] = nc_f32_to_bf16((float)v);
    else
        ((double *)p)[i] = v;
}
/* A number of the wide type that goes with the slot: f32, or f64 for slot f64. */
static inline double nc_wide_get(nc_slot s, const void *p, int64_t i) { return s == NC_SLOT_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i]; }
static inline void nc_wide_put(nc_slot s, void *p, int64_t i, double v)
{
    if (s == NC_SLOT_F64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}
/* Three functions of one body, one for each slot: NC_EACH_SLOT(name, (parameters), body(slot, ...)). */
#define NC_EACH_SLOT(name, parameters, f32, bf16, f64) \
    static void name##_f32 parameters { f32; }         \
    static void name##_bf16 parameters { bf16; }       \
    static void name##_f64 parameters { f64; }
#define NC_SLOT_TABLE(name) { name##_f32, name##_bf16, name##_f64 }
#endif
