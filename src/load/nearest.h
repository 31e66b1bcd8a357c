/* nearest.h - a folder of an unknown family: which known ones come closest, and what differs. */
#ifndef NC_LOAD_NEAREST_H
#define NC_LOAD_NEAREST_H
#include "formats/safetensors.h"
#include "models/model.h"

enum { NC_NEAREST = 3 };
/* config is read as each known family would read it, and the sites it would list are looked for among the tensors of s (NULL: by keys alone). The best NC_NEAREST, best first, as an
 * array of objects in the arena:
 *     family, score (0 to 1), keys { known, unknown [names], missing [names], mistakes [lines] },
 *     tensors { alike, unknown [..], missing [..], shapes [..] }, each entry { name, tensors, shape, expected }: digits that count layers are '*', tensors how many there are.
 * tensors is null where the sizes cannot be read or there are no files. */
nc_json *nc_nearest_families(nc_arena *a, const nc_json *config, nc_safetensors *s);
#endif
