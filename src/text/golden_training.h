/* golden_training.h - the folders of golden/tokenizers that are not about one tokenizer: parts and training. */
#ifndef NC_TEXT_GOLDEN_TRAINING_H
#define NC_TEXT_GOLDEN_TRAINING_H
#include "text/golden_text.h"

void nc_golden_parts(const char *folder, nc_golden_fn *report, void *context);
int nc_golden_training(const char *folder, nc_golden_fn *report, void *context, nc_error *e);
int nc_golden_batches(const char *folder, nc_golden_fn *report, void *context, nc_error *e);
#endif
