/* verb_train.c - a recipe, run. ^C finishes the step, writes a checkpoint and ends with 130; the same command goes on. */
#include <math.h>

#include "cli/cli.h"
#include "train/train.h"

static int run(nc_cli *c, nc_error *e)
{
    nc_train_report r = { 0 };
    nc_cli_interrupt(nc_train_cancel);
    nc_cli_terminate(nc_train_cancel);
    int status = nc_train(c->word[0], c->pair, c->pairs, &r, e);
    nc_cli_interrupt(NULL);
    nc_cli_terminate(NULL);
    if (status < 0)
        return status;
    char time[32], rate[32], peak[32], planned[32];
    nc_buf b = { 0 };
    nc_buf_printf(&b, "%s: %lld steps in %s, %s tokens/s, loss %.4f", r.model, (long long)r.steps, nc_human_time(r.train_seconds, time), nc_human_count(r.tokens_per_second, rate), r.last_loss);
    if (!isnan(r.eval_loss))
        nc_buf_printf(&b, ", validation %.4f", r.eval_loss);
    nc_buf_printf(&b, "; peak memory %s, planned %s\n", nc_human_bytes((double)r.peak_bytes, peak), nc_human_bytes((double)r.planned_bytes, planned));
    nc_cli_print(&b);
    return 0;
}

const nc_verb nc_verb_train = { "train", "RECIPE", "train by a recipe (LLaMA-Factory's keys), or go on where it stopped",
    "Any key of the recipe is overridden by key=value; overwrite_output_dir=true starts anew. ^C writes a checkpoint; the same command goes on from it.",
    NULL, 1, 1, true, run };
