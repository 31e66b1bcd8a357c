/* processor_golden.h - runs a folder of golden/processors: the reference's outputs against ours, case by case. */
#ifndef NC_FRONT_PROCESSOR_GOLDEN_H
#define NC_FRONT_PROCESSOR_GOLDEN_H
#include "base/status.h"

typedef enum nc_golden_result { NC_GOLDEN_OK, NC_GOLDEN_FAILED, NC_GOLDEN_SKIPPED } nc_golden_result;
/* name is the case ("coffee.png"), worst the largest error where one was measured, message the reason of a failure or skip. */
typedef void nc_golden_fn(void *context, const char *name, nc_golden_result result, double worst, const char *message);

/* folder holds golden.json and a preprocessor_config.json or video_preprocessor_config.json (without either: golden_media.h); pictures lie in folder/../images or below data
 * (NULL: none). Limits: bytes equal (by SHA-256), floats 2e-6; videos, which the reference scales by another program, two levels.
 * A folder that cannot be read is an error; single cases never are. */
int nc_golden_processor(const char *folder, const char *data, nc_golden_fn *report, void *context, nc_error *e);
#endif
