/* worse.h - the larger of two errors, where a NaN is an error without bound: fmax and comparisons would lose it. */
#ifndef NC_CLI_WORSE_H
#define NC_CLI_WORSE_H
#include <math.h>

static inline double nc_worse(double worst, double d) { return isnan(d) ? (double)INFINITY : d > worst ? d : worst; }
#endif
