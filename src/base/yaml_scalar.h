/* yaml_scalar.h - what a plain YAML scalar means; for yaml.c alone. */
#ifndef NC_BASE_YAML_SCALAR_H
#define NC_BASE_YAML_SCALAR_H
#include "base/json.h"

/* Sets v's type and text (in a) from the spelling s, as PyYAML's SafeLoader resolves it. False when an integer does not fit 64 bits
 * in a spelling other than decimal. */
bool nc_yaml_resolve(nc_arena *a, nc_str s, nc_json *v);
#endif
