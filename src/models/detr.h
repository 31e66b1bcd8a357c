/* detr.h - a detector's answers as a caller wants them. */
#ifndef NC_MODELS_DETR_H
#define NC_MODELS_DETR_H
#include "models/model.h"

/* box: left, top, right, bottom in pixels of a picture of height x width. */
typedef struct nc_detection { double score; int label; double box[4]; } nc_detection;
int nc_detr_queries(const nc_model *m);                      /* of each picture; -1 when m is no detector */
/* What the queries of one picture found with a score above the threshold, in their order: logits [queries, labels + 1] (the last: nothing), boxes [queries, 4]. At most
 * `queries` of them go to out; returns how many. */
int nc_detections(const float *logits, const float *boxes, int queries, int labels, double threshold, int height, int width, nc_detection *out);
#endif
