/* lines.h - stdin line by line, as many at once as there are. */
#ifndef NC_CLI_LINES_H
#define NC_CLI_LINES_H
#include "base/str.h"

/* Lines without their ends; first: of them all, from 0. */
typedef int nc_cli_lines_fn(void *context, const nc_str *lines, int count, int64_t first, nc_error *e);
/* Calls take with as many lines as there are now, at most `batch`: a line that comes alone is answered alone. */
int nc_cli_lines(int batch, nc_cli_lines_fn *take, void *context, nc_error *e);
#endif
