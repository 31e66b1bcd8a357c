/* golden_text.h - golden data of tokenizers and chat templates: runs the cases of a folder and reports each file.
 *
 * The folders have the layout of tests/golden/tokenizers/<name> and tests/golden/templates; data is the folder that paths in golden.json are relative to.
 */
#ifndef NC_TEXT_GOLDEN_TEXT_H
#define NC_TEXT_GOLDEN_TEXT_H
#include "text/tokenizer.h"

/* One call for each file of cases. ok + failed == 0: skipped, detail says why; else detail is "" or the first failure. */
typedef void nc_golden_fn(void *context, const char *name, long ok, long failed, const char *detail);

/* gguf opens the vocabulary inside a GGUF file; NULL: such cases are skipped. */
int nc_golden_tokenizer(const char *folder, const char *data, int (*gguf)(const char *file, nc_tokenizer **out, nc_error *e), nc_golden_fn *report, void *context, nc_error *e);
int nc_golden_templates(const char *folder, nc_golden_fn *report, void *context, nc_error *e);
#endif
