/* regions.h - what a model asked in words says of places in a picture: one question with its regions, for detect and ocr. */
#ifndef NC_CLI_REGIONS_H
#define NC_CLI_REGIONS_H
#include "front/regions.h"
#include "infer/session.h"

/* text: the whole answer's words; regions in pixels of the picture as it is shown. Lies in the arena. */
typedef struct nc_told { nc_str text; nc_regions regions; nc_region_form form; int new_tokens; double seconds; } nc_told;
int nc_regions_ask(nc_session *s, nc_arena *a, const char *task, const nc_attachment *at, const nc_generation_options *o, nc_told *out, nc_error *e);
/* Regions [i, next) with one number: as members of an object behind the label ("box": [...], "quad": [...] or "polygons": [[...]]). Returns next. */
int nc_regions_members(nc_buf *b, const nc_regions *r, int i);
/* post_processor_config.phrase_grounding.banned_grounding_tokens of a folder's processor_config.json; NULL without. */
const nc_json *nc_regions_banned(nc_arena *a, const char *folder);
#endif
