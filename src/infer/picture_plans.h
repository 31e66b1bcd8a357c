/* picture_plans.h - an encoder of pictures, run over whatever shapes come: one program for each shape and number of pictures, the one longest unused given back when there
 * are more than eight.
 */
#ifndef NC_INFER_PICTURE_PLANS_H
#define NC_INFER_PICTURE_PLANS_H
#include "load/load.h"

typedef struct nc_picture_plans nc_picture_plans;
/* l outlives it; threads of pool. */
nc_picture_plans *nc_picture_plans_new(nc_loaded *l, nc_dtype compute, nc_pool *pool, const nc_kernels *kernels);
void nc_picture_plans_free(nc_picture_plans *p);
/* Runs pictures (channels, height, width; normalized). What nc_encoded holds is kept under "rows", "pooled" and "logits" (nc_picture_plans_floats) until the next run. */
int nc_picture_plans_run(nc_picture_plans *p, const nc_pixels *pictures, int count, nc_error *e);
/* The live values of an output of the last run as f32, row-major; NULL when the model has no such output. Lie in a. */
const float *nc_picture_plans_floats(const nc_picture_plans *p, nc_arena *a, const char *output, nc_shape *shape);
#endif
