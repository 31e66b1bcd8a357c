/* augment.h - what is done at random to a picture before the processor sees it: a list of operations with Pillow's and torchvision's names and parameters.
 *
 *     - { name: RandomResizedCrop, size: 224, scale: [0.5, 1.0] }
 *     - { name: ColorJitter, brightness: 0.4, hue: 0.1 }
 *     - { name: ImageFilter.GaussianBlur, radius: 2, p: 0.3 }
 *
 * Any operation takes p, the share of pictures it is done to (1 unless it has its own default). Pictures are Pillow's until PILToTensor or ToTensor makes tensors of
 * them; at the end of the list they are pictures again. The draws come from the caller's generator alone, so the same (seed, epoch, sample) give the same bits.
 */
#ifndef NC_MEDIA_AUGMENT_H
#define NC_MEDIA_AUGMENT_H
#include "base/json.h"
#include "base/rng.h"
#include "media/image.h"

typedef struct nc_augment nc_augment;
/* list: the array; where, "recipe.yaml: augment", begins the errors. Lives in the arena. Unknown names and keys are refused with the nearest known one. */
int nc_augment_new(nc_arena *a, const nc_json *list, const char *where, nc_augment **out, nc_error *e);
/* Replaces *im; where it fails, *im is left as it was. */
int nc_augment_run(const nc_augment *g, nc_rng *rng, nc_image *im, nc_error *e);
/* The known names, sorted as in operations.list. */
const char *const *nc_augment_names(int *count);
#endif
