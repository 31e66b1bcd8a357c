/* golden_tensors.h - the few tensors that reference data of pictures hold, read from a safetensors file for the golden runs. Inside src/front only;
 * checkpoints are read by formats/.
 */
#ifndef NC_FRONT_GOLDEN_TENSORS_H
#define NC_FRONT_GOLDEN_TENSORS_H
#include "base/file.h"
#include "base/json.h"

typedef struct nc_golden_tensors { nc_mapped file; nc_json *header; const uint8_t *data; size_t n; } nc_golden_tensors;
typedef struct nc_golden_tensor { const char *dtype; int rank; int64_t shape[6], elements; const uint8_t *bytes; } nc_golden_tensor;

int nc_golden_tensors_open(nc_arena *a, const char *path, nc_golden_tensors *out, nc_error *e);    /* nc_unmap_file(&t->file) gives back */
/* false when it is absent or does not lie whole in the file. bytes may be unaligned. */
bool nc_golden_tensor_get(const nc_golden_tensors *t, const char *name, nc_golden_tensor *out);
/* A copy as floats; F32 only. NULL else. */
float *nc_golden_floats(nc_arena *a, const nc_golden_tensor *t);
#endif
