/* clock.h - time. */
#ifndef NC_BASE_CLOCK_H
#define NC_BASE_CLOCK_H
#include "base/status.h"
uint64_t nc_now_ns(void);                      /* monotonic */
double nc_now(void);                           /* monotonic, seconds */
double nc_wall_time(void);                     /* seconds since 1970 */
char *nc_wall_iso(double wall, char out[32]);  /* 2026-11-21T07:42:00Z */
#endif
