/* anyres.c - see anyres.h. */
#include "models/anyres.h"

#include <math.h>

void nc_anyres_config(nc_config *r, const char *key, nc_anyres *out)
{
    const nc_json *list = nc_config_get(r, key);
    out->count = 0;
    NC_JSON_EACH(item, list) {
        int64_t height = nc_json_int(nc_json_at(item, 0), 0), width = nc_json_int(nc_json_at(item, 1), 0);
        if (height <= 0 || width <= 0 || height > 1 << 20 || width > 1 << 20 || out->count == NC_MAX_PINPOINTS) {
            nc_config_mistake(r, "line %d: \"%s\" must be at most %d pairs of height and width", item->line, key, NC_MAX_PINPOINTS);
            return;
        }
        out->size[out->count][0] = (int)height;
        out->size[out->count++][1] = (int)width;
    }
}

void nc_anyres_best(const nc_anyres *a, int height, int width, int *best_height, int *best_width)
{
    int64_t most = -1, least = INT64_MAX;
    *best_height = *best_width = 0;
    for (int i = 0; i < a->count; i++) {
        int h = a->size[i][0], w = a->size[i][1];
        double scale = fmin((double)w / width, (double)h / height);
        int64_t kept = (int64_t)(width * scale) * (int64_t)(height * scale), all = (int64_t)width * height;
        kept = kept < all ? kept : all;
        int64_t wasted = (int64_t)w * h - kept;
        if (kept > most || (kept == most && wasted < least)) {
            most = kept;
            least = wasted;
            *best_height = h;
            *best_width = w;
        }
    }
}

/* Python's int(round(x, 7)). */
static int rounded(double x) { return (int)(nearbyint(x * 1e7) / 1e7); }

nc_anyres_map nc_anyres_map_of(const nc_anyres *a, int height, int width, int image_size, int side)
{
    int best_height, best_width;
    nc_anyres_best(a, height, width, &best_height, &best_width);
    nc_anyres_map m = { .down = best_height / image_size, .across = best_width / image_size };
    m.height = m.down * side;
    m.width = m.across * side;
    if ((double)width / height > (double)m.width / m.height)
        m.top = (m.height - rounded(height * ((double)m.width / width))) / 2;
    else
        m.left = (m.width - rounded(width * ((double)m.height / height))) / 2;
    return m;
}

int nc_anyres_rows(const nc_anyres *a, int height, int width, int tiles, int image_size, int side, int32_t *order)
{
    int n = 0;
    for (int i = 0; i < side * side; i++, n++)
        if (order)
            order[n] = i;
    if (tiles <= 1 || height <= 0 || width <= 0) {
        if (order)
            order[n] = NC_ANYRES_NEWLINE;
        return n + 1;
    }
    const nc_anyres_map m = nc_anyres_map_of(a, height, width, image_size, side);
    for (int y = m.top; y < m.height - m.top; y++) {
        for (int x = m.left; x < m.width - m.left; x++, n++)
            if (order)
                order[n] = (1 + y / side * m.across + x / side) * side * side + y % side * side + x % side;
        if (order)
            order[n] = NC_ANYRES_NEWLINE;
        n++;
    }
    return n;
}
