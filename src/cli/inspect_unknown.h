/* inspect_unknown.h - what `inspect` says of a folder whose family is unknown. */
#ifndef NC_CLI_INSPECT_UNKNOWN_H
#define NC_CLI_INSPECT_UNKNOWN_H
#include "cli/cli.h"

/* 0 when config.json names a known family (or there is none to read); else prints the nearest families, with what differs, and fails. */
int nc_inspect_unknown(nc_cli *c, const char *folder, nc_error *e);
#endif
