/* number.h - doubles as text, for the JSON files of this folder. */
#ifndef NC_BASE_NUMBER_H
#define NC_BASE_NUMBER_H
#include "base/str.h"

/* Python's repr(): the fewest digits that read back equal, "1.0", "1e-05", "NaN", "-Infinity". Returns out. */
char *nc_format_double(double v, char out[32]);
#endif
