/* verb_plan.c - what a recipe would take, before anything runs. */
#include "cli/cli.h"
#include "train/train.h"

static int run(nc_cli *c, nc_error *e)
{
    nc_buf b = { 0 };
    int status = nc_train_plan(c->word[0], c->pair, c->pairs, &b, e);
    nc_cli_print(&b);
    return status;
}

const nc_verb nc_verb_plan = { "plan", "RECIPE", "memory and FLOPs of a recipe, before anything runs", "Trains nothing and leaves nothing on disk.", NULL, 1, 1, true, run };
