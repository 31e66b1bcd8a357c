/* golden.h - the reference data of a whole tree, case by case; the files golden_<kind>.c run one kind each. */
#ifndef NC_CLI_GOLDEN_H
#define NC_CLI_GOLDEN_H
#include "base/str.h"
#include "base/thread.h"

typedef struct nc_golden_tally { int passed, failed, skipped; const char *data; nc_pool *pool; nc_buf *table; } nc_golden_tally;   /* table: models' errors as rows of Markdown; NULL: none */

/* One line: "ok  models/llama  worst 0.12 of the limit". */
enum { NC_CASE_OK, NC_CASE_FAILED, NC_CASE_SKIPPED };
void nc_golden_line(nc_golden_tally *t, int result, const char *path, const char *format, ...) NC_PRINTF(4, 5);

/* path: below the tree, for the lines; folder: where it lies. Each prints one line for each of its cases. */
void nc_golden_run_tokenizer(nc_golden_tally *t, const char *path, const char *folder);
void nc_golden_run_templates(nc_golden_tally *t, const char *path, const char *folder);
void nc_golden_run_processor(nc_golden_tally *t, const char *path, const char *folder);
void nc_golden_run_model(nc_golden_tally *t, const char *path, const char *folder);
void nc_golden_table_head(nc_buf *out);
void nc_golden_run_metrics(nc_golden_tally *t, const char *path, const char *folder);
void nc_golden_run_quant(nc_golden_tally *t, const char *path, const char *folder);
void nc_golden_run_sampling(nc_golden_tally *t, const char *path, const char *folder);
void nc_golden_run_train(nc_golden_tally *t, const char *path, const char *folder);
#endif
