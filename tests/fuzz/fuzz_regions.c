/* fuzz_regions.c - arbitrary bytes as what a model says of places, read in every form; regions lie within what they say. */
#include <stdlib.h>
#include <string.h>

#include "front/regions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    for (int form = NC_REGIONS_NONE; form <= NC_REGIONS_BOXES_OR_POLYGONS; form++) {
        nc_arena *a = nc_arena_new();
        nc_regions r;
        nc_regions_read(a, (nc_region_form)form, (nc_str){ copy, size }, 640, 480, NULL, &r);
        for (int i = 0; i < r.count; i++)
            if (r.item[i].count < 0 || (i && r.item[i].number < r.item[i - 1].number) || strlen(r.item[i].label) > size)
                abort();
        if (nc_regions_words(a, (nc_str){ copy, size }).n > size)
            abort();
        nc_arena_free(a);
    }
    free(copy);
    return 0;
}
