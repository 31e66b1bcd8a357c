/* map.h - hash map from byte strings to a 64-bit integer (an index, usually). Keys are copied into the map. Insertion order is kept. */
#ifndef NC_BASE_MAP_H
#define NC_BASE_MAP_H
#include "base/str.h"

typedef struct nc_map nc_map;
nc_map *nc_map_new(size_t expected);                            /* nc_map_free gives back */
void nc_map_free(nc_map *m);
/* Sets key to value; returns true when the key was new. */
bool nc_map_set(nc_map *m, nc_str key, int64_t value);
bool nc_map_get(const nc_map *m, nc_str key, int64_t *value);   /* value may be NULL */
size_t nc_map_count(const nc_map *m);
/* The i-th key in order of insertion. */
nc_str nc_map_key(const nc_map *m, size_t i);
int64_t nc_map_value(const nc_map *m, size_t i);
#endif
