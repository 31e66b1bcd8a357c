/* objectives.c - the list of objectives. */
#include "train/objective.h"

#define OBJECTIVE(name) extern const nc_objective nc_objective_##name;
#include "train/objectives.list"
#undef OBJECTIVE

static const nc_objective *const objectives[] = {
#define OBJECTIVE(name) &nc_objective_##name,
#include "train/objectives.list"
#undef OBJECTIVE
};

const nc_objective *const *nc_objectives(int *count)
{
    *count = NC_COUNT(objectives);
    return objectives;
}
