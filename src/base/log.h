/* log.h - what the program tells its operator, on stderr: lines for people or, with NUNCHI_LOG=json, JSON objects.
 * Only cli/, train/, infer/ and serve/ log; the folders below return errors. Thread-safe. */
#ifndef NC_BASE_LOG_H
#define NC_BASE_LOG_H
#include "base/str.h"
typedef enum nc_log_level { NC_LOG_DEBUG, NC_LOG_INFO, NC_LOG_WARN, NC_LOG_ERROR, NC_LOG_SILENT } nc_log_level;
void nc_log_setup(nc_log_level least, bool json);
void nc_log(nc_log_level level, const char *format, ...) NC_PRINTF(2, 3);
#define nc_debug(...) nc_log(NC_LOG_DEBUG, __VA_ARGS__)
#define nc_info(...) nc_log(NC_LOG_INFO, __VA_ARGS__)
#define nc_warn(...) nc_log(NC_LOG_WARN, __VA_ARGS__)
#endif
