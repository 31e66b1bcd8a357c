/* golden_media.h - golden folders of pictures and videos without a processor; see processor_golden.h for the report. */
#ifndef NC_FRONT_GOLDEN_MEDIA_H
#define NC_FRONT_GOLDEN_MEDIA_H
#include "front/processor_golden.h"

/* processors/images, image-decode, pillow-resize, video-decode, augment; others are reported as skipped. nc_golden_processor calls this for folders that
 * hold no processor's file. */
int nc_golden_media(const char *folder, const char *data, nc_golden_fn *report, void *context, nc_error *e);
#endif
