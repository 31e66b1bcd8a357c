/* regions.h - what a Florence-2 says of places: its text with location tokens becomes labels with boxes, quadrilaterals or polygons in pixels.
 *
 *   car<loc_10><loc_20><loc_400><loc_500>        a place is one of 1000 bins of the picture's width or height: (bin + 0.5) * size / 1000, cut to whole pixels
 *
 * Which form a text has follows from the task that was asked. The forms are those of the reference's post-processor; where that drops what is not ASCII from the labels of
 * boxes, they stay here.
 */
#ifndef NC_FRONT_REGIONS_H
#define NC_FRONT_REGIONS_H
#include "base/json.h"

typedef enum nc_region_form {
    NC_REGIONS_NONE,                 /* words alone */
    NC_REGIONS_BOXES,                /* label, then boxes */
    NC_REGIONS_BARE_BOXES,           /* boxes without labels */
    NC_REGIONS_GROUNDING,            /* label, then boxes; words that name nothing are left out */
    NC_REGIONS_QUADS,                /* text, then its four corners */
    NC_REGIONS_POLYGONS,             /* polygons, with or without a label */
    NC_REGIONS_BOXES_OR_POLYGONS,    /* label, then either */
} nc_region_form;

/* One label and its place: a box (left, top, right, bottom), a quadrilateral (four corners x, y), or a polygon (corners x, y); a region of several polygons is several in a row
 * with the same number. */
typedef struct nc_region { const char *label; enum { NC_REGION_BOX, NC_REGION_QUAD, NC_REGION_POLYGON } kind; const int *xy; int count, number; } nc_region;   /* count: of numbers in xy */
typedef struct nc_regions { nc_region *item; int count, capacity; } nc_regions;

/* Of the task a request's text names. */
nc_region_form nc_region_form_of(const char *text);
/* banned: labels that grounding leaves out (post_processor_config.phrase_grounding.banned_grounding_tokens), a list of strings; NULL: the first release's list. Results lie in a;
 * any bytes may come: what has no such form gives no regions. */
void nc_regions_read(nc_arena *a, nc_region_form form, nc_str text, int width, int height, const nc_json *banned, nc_regions *out);
/* The same text without its location tokens and special tokens, white space around taken off: the words. */
nc_str nc_regions_words(nc_arena *a, nc_str text);
#endif
