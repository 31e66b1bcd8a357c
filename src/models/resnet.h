/* resnet.h - ResNet's features for the families that stand on them (DETR). */
#ifndef NC_MODELS_RESNET_H
#define NC_MODELS_RESNET_H
#include "models/convnet.h"

/* The map after stage `stage` (1 ...; 0: the last) of a part whose batch norms are frozen, weights included; no gradient goes behind the first `held` stages. */
nc_grid nc_resnet_features(const nc_model *m, nc_build *b, nc_grid pictures, int stage, int held);
/* What "resnet50" (18, 34, 50, 101, 152) means: its config, whose sites bear timm's names (conv1, bn1, layer1.0.conv1 ...). NULL when the name is another. */
const nc_json *nc_resnet_named(nc_arena *a, const char *name);
int nc_resnet_stages(const nc_model *m);
void nc_resnet_map_size(const nc_model *m, int stage, int64_t height, int64_t width, int64_t *down, int64_t *across);   /* cells of that map */
int nc_resnet_width(const nc_model *m, int stage);                               /* channels after it */
#endif
