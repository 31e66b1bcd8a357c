/* logbook.h - what a run leaves to read: metrics.jsonl (one object a logged step), TensorBoard events, a progress bar. */
#ifndef NC_TRAIN_LOGBOOK_H
#define NC_TRAIN_LOGBOOK_H
#include "train/run.h"

typedef struct nc_logbook nc_logbook;
/* Resuming at r->step, lines of later steps are dropped from the file. */
int nc_logbook_open(nc_train_run *r, nc_logbook **out, nc_error *e);
/* After every step. Losses between two logged steps are averaged. */
int nc_logbook_step(nc_logbook *l, nc_train_run *r, double loss, double norm, double rate, nc_error *e);
int nc_logbook_eval(nc_logbook *l, nc_train_run *r, double loss, nc_error *e);
int nc_logbook_close(nc_logbook *l, nc_train_run *r, nc_error *e);   /* NULL is allowed */
#endif
