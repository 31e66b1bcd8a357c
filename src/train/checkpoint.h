/* checkpoint.h - a stage's state between two steps: folder/checkpoint-<step>, written whole (a temporary name, then renamed).
 *
 *   trainer.safetensors    for each trained weight <name>: its f32 master, and <name>//<state> for every array of the optimizer
 *   trainer_state.json     step, tokens, samples, seconds, losses, hashes of recipe and data
 * The position in the data follows from the step, so nothing else is needed to go on to the same bits.
 */
#ifndef NC_TRAIN_CHECKPOINT_H
#define NC_TRAIN_CHECKPOINT_H
#include "train/run.h"

int nc_checkpoint_write(nc_train_run *r, nc_error *e);           /* and removes the oldest beyond save_total_limit */
/* Goes on from the newest whole checkpoint of the folder; r->step stays 0 without one. Refuses (NC_EINVAL) when its recipe or data was another. */
int nc_checkpoint_resume(nc_train_run *r, nc_error *e);
void nc_checkpoints_remove(const char *folder);                  /* all of them */
#endif
