/* detect.h - objects in picture files: a detector's folder, opened once. */
#ifndef NC_INFER_DETECT_H
#define NC_INFER_DETECT_H
#include "infer/picture_plans.h"
#include "models/detr.h"

typedef struct nc_detector nc_detector;
int nc_detector_open(const char *folder_or_id, const char *dtype /* NULL: f32 */, int threads /* 0: all */, nc_detector **out, nc_error *e);
void nc_detector_close(nc_detector *d);
/* What a picture (any size, channels) shows with a score above the threshold, best first; boxes in its pixels. Lie in a. */
int nc_detect(nc_detector *d, nc_arena *a, const nc_image *picture, double threshold, nc_detection **found, int *count, nc_error *e);
const nc_model *nc_detector_model(const nc_detector *d);
const char *nc_detector_label(const nc_detector *d, int label);      /* its name in config.json, "LABEL_3" without */
#endif
