/* resnet.h - ResNet's features for the families that stand on them (DETR). */
#ifndef NC_MODELS_RESNET_H
#define NC_MODELS_RESNET_H
#include "models/convnet.h"

/* The map after stage `stage` (1 ...; 0: the last) of a part; frozen: batch norm keeps its statistics. */
nc_grid nc_resnet_features(const nc_model *m, nc_build *b, nc_grid pictures, int stage, bool frozen);
int nc_resnet_stages(const nc_model *m);
void nc_resnet_map_size(const nc_model *m, int stage, int64_t height, int64_t width, int64_t *down, int64_t *across);   /* cells of that map */
int nc_resnet_width(const nc_model *m, int stage);                               /* channels after it */
#endif
