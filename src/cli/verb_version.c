/* verb_version.c - the version, and the compiler it was built with. */
#include "cli/cli.h"

static int run(nc_cli *c, nc_error *e)
{
    (void)c, (void)e;
    nc_buf b = { 0 };
    nc_buf_adds(&b, "nunchi " NUNCHI_VERSION " (" __VERSION__ ")\n");
    nc_cli_print(&b);
    return 0;
}

const nc_verb nc_verb_version = { "version", "", "the version", NULL, NULL, 0, 0, false, run };
