/* clock.c - CLOCK_MONOTONIC for durations, CLOCK_REALTIME for dates. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t nc_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double nc_now(void)
{
    return (double)nc_now_ns() * 1e-9;
}

double nc_wall_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

char *nc_wall_iso(double wall, char out[32])
{
    time_t seconds = (time_t)wall;
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, 32, "1970-01-01T00:00:00Z");
    return out;
}
