/* gguf_config.h - a config.json for a GGUF file that stands alone, from its words (load/gguf_arch.h). */
#ifndef NC_LOAD_GGUF_CONFIG_H
#define NC_LOAD_GGUF_CONFIG_H
#include "formats/gguf.h"

/* file names errors. NC_EUNSUPPORTED for an architecture that is not known, naming those that are. */
int nc_gguf_config(nc_arena *a, const nc_gguf *g, const char *file, nc_json **out, nc_error *e);
int nc_gguf_config_open(nc_arena *a, const char *file, nc_json **out, nc_error *e);
#endif
