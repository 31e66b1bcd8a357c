/* golden_augment.h - golden/processors/augment: single operations of Pillow and torchvision with their parameters. Inside src/front only. */
#ifndef NC_FRONT_GOLDEN_AUGMENT_H
#define NC_FRONT_GOLDEN_AUGMENT_H
#include "front/golden_tensors.h"
#include "front/processor_golden.h"

/* Every tensor but the inputs is a case, g golden.json. Bytes are compared exactly, floats within 2e-6 of the largest magnitude. */
void nc_golden_augment(nc_arena *a, const nc_golden_tensors *t, const nc_json *g, nc_golden_fn *report, void *context);
#endif
