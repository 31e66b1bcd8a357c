/* segformer.h - what a net's logits say of a picture's pixels. */
#ifndef NC_MODELS_SEGFORMER_H
#define NC_MODELS_SEGFORMER_H
#include "models/model.h"

/* The label of each pixel of a picture of height x width: logits [labels, rows, columns] resized (bilinear), the first of the largest. */
void nc_segment_labels(const float *logits, int labels, int64_t rows, int64_t columns, int64_t height, int64_t width, int32_t *out);
#endif
