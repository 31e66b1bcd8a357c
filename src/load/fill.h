/* fill.h - sites filled from sources, many at once: read, converted and packed in pieces that all threads share. */
#ifndef NC_LOAD_FILL_H
#define NC_LOAD_FILL_H
#include "load/checkpoint.h"
#include "load/weights.h"

/* Fills sites[i] from sources[i] (data NULL: left alone). Memory for packed sites is one block; c may be NULL (sources in memory). Gathered
 * sources are used up. */
int nc_sites_fill(nc_model *m, nc_site *const *sites, nc_source *sources, int count, nc_checkpoint *c, const nc_weights_options *o, nc_error *e);
#endif
