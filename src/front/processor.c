/* processor.c - the keys all processors share, the shared steps, and from bytes to floats. */
#include "front/processor_family.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>

#define NC_PROCESSOR_FAMILY(name) &nc_processor_##name,
static const nc_processor_family *const families[] = {
#include "front/processor_families.list"
};
#undef NC_PROCESSOR_FAMILY

static const char *const common_keys[] = { "do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad", "size", "crop_size",
    "resample", "rescale_factor", "image_mean", "image_std" };
/* Written by the libraries, without meaning for what is computed. */
static const char *const idle_keys[] = { "image_processor_type", "video_processor_type", "feature_extractor_type", "processor_class", "auto_map",
    "_valid_processor_keys", "return_tensors", "data_format", "input_data_format", "device", "disable_grouping", "default_to_square", "return_metadata",
    "do_sample_frames", "num_frames", "fps", "video_metadata", "image_seq_length", "_commit_hash", "transformers_version", "initial_shift" };

static bool listed(const char *key, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0)
            return true;
    return false;
}

static bool in_words(const char *key, const char *words)
{
    const size_t n = strlen(key);
    for (const char *p = words; p && (p = strstr(p, key)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == 0 || p[n] == ' '))
            return true;
    return false;
}

static int check_keys(const nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    NC_JSON_EACH(v, config) {
        if (listed(v->key.p, common_keys, NC_COUNT(common_keys)) || listed(v->key.p, idle_keys, NC_COUNT(idle_keys)) || in_words(v->key.p, p->family->keys))
            continue;
        const char *near = nc_nearest(v->key.p, common_keys, NC_COUNT(common_keys));
        return nc_fail(e, NC_EUNSUPPORTED, "%s:%d: key \"%s\" is not known for %s%s%s%s", file, v->line, v->key.p, p->row->name, near ? "; did you mean \"" : "",
                       near ? near : "", near ? "\"?" : "");
    }
    return 0;
}

/* The class "XImageProcessorFast" reads the files of "XImageProcessor"; older files name "XFeatureExtractor". */
static bool same_class(const char *name, const char *row)
{
    static const char fast[] = "Fast", pil[] = "Pil", old[] = "FeatureExtractor", current[] = "ImageProcessor";
    const size_t n = strlen(name), m = strlen(row);
    if (strncmp(name, row, m) == 0 && (n == m || strcmp(name + m, fast) == 0 || strcmp(name + m, pil) == 0))
        return true;
    const size_t o = sizeof old - 1, c = sizeof current - 1;
    return n > o && m > c && n - o == m - c && strcmp(name + n - o, old) == 0 && strcmp(row + m - c, current) == 0 && memcmp(name, row, n - o) == 0;
}

static int find_class(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const char *name = nc_json_string(nc_json_get(config, "video_processor_type"), NULL);
    name = name ? name : nc_json_string(nc_json_get(config, "image_processor_type"), nc_json_string(nc_json_get(config, "feature_extractor_type"), NULL));
    if (!name)
        return nc_fail(e, NC_EFORMAT, "%s: image_processor_type or video_processor_type is missing", file);
    for (int i = 0; i < NC_COUNT(families); i++)
        for (const nc_processor_class_row *row = families[i]->classes; row->name; row++)
            if (same_class(name, row->name)) {
                p->family = families[i];
                p->row = row;
                return 0;
            }
    return nc_fail(e, NC_EUNSUPPORTED, "%s: processor class %s is not known", file, name);
}

static int read_side(const nc_json *v, const char *file, const char *key, int *out, nc_error *e)
{
    int64_t n;
    if (!v)
        return 0;
    if (!nc_json_int_exact(v, &n) || n < 1 || n > 1 << 27)
        return nc_fail(e, NC_EFORMAT, "%s:%d: %s must be a whole number from 1", file, v->line, key);
    *out = (int)n;
    return 0;
}

/* size: a number, [height, width], or an object. */
static int read_size(nc_processor *p, const nc_json *v, const char *file, nc_error *e)
{
    if (!v || v->type == NC_JSON_NULL)
        return 0;
    const bool square = p->row->height > 0;
    p->shortest = p->longest = p->height = p->width = 0;
    if (v->type == NC_JSON_NUMBER) {
        NC_TRY(read_side(v, file, "size", square ? &p->height : &p->shortest, e));
        p->width = p->height;
        return 0;
    }
    if (v->type == NC_JSON_ARRAY && v->count == 2) {
        NC_TRY(read_side(nc_json_at(v, 0), file, "size", &p->height, e));
        return read_side(nc_json_at(v, 1), file, "size", &p->width, e);
    }
    if (v->type != NC_JSON_OBJECT)
        return nc_fail(e, NC_EFORMAT, "%s:%d: size must be a number or an object with shortest_edge or height and width", file, v->line);
    NC_JSON_EACH(side, v) {
        int *to = strcmp(side->key.p, "shortest_edge") == 0 ? &p->shortest : strcmp(side->key.p, "longest_edge") == 0 ? &p->longest
                  : strcmp(side->key.p, "min_pixels") == 0    ? &p->shortest : strcmp(side->key.p, "max_pixels") == 0  ? &p->longest
                  : strcmp(side->key.p, "height") == 0      ? &p->height   : strcmp(side->key.p, "width") == 0        ? &p->width : NULL;
        if (!to)
            return nc_fail(e, NC_EUNSUPPORTED, "%s:%d: size.%s is not known", file, side->line, side->key.p);
        NC_TRY(read_side(side, file, side->key.p, to, e));
    }
    if (!p->height != !p->width)
        return nc_fail(e, NC_EFORMAT, "%s:%d: size needs height and width together", file, v->line);
    return 0;
}

static int read_crop(nc_processor *p, const nc_json *v, const char *file, nc_error *e)
{
    if (!v || v->type == NC_JSON_NULL)
        return 0;
    if (v->type == NC_JSON_NUMBER) {
        NC_TRY(read_side(v, file, "crop_size", &p->crop_height, e));
        p->crop_width = p->crop_height;
        return 0;
    }
    const nc_json *h = nc_json_get(v, "height"), *w = nc_json_get(v, "width");
    if (!h || !w || v->count != 2)
        return nc_fail(e, NC_EFORMAT, "%s:%d: crop_size must be a number or hold height and width", file, v->line);
    NC_TRY(read_side(h, file, "crop_size.height", &p->crop_height, e));
    return read_side(w, file, "crop_size.width", &p->crop_width, e);
}

static int read_colors(const nc_json *config, const char *key, double out[3], bool divisor, const char *file, nc_error *e)
{
    const nc_json *v = nc_json_get(config, key);
    if (!v || v->type == NC_JSON_NULL)
        return 0;
    for (int i = 0; i < 3; i++) {
        const nc_json *x = v->type == NC_JSON_NUMBER ? v : v->count == 3 ? nc_json_at(v, i) : v->count == 1 ? v->first : NULL;
        if (!nc_json_is(x, NC_JSON_NUMBER))
            return nc_fail(e, NC_EFORMAT, "%s:%d: %s must hold three numbers", file, v->line, key);
        out[i] = nc_json_double(x, 0);
        if (!(out[i] > -1e6 && out[i] < 1e6) || (divisor && out[i] == 0))
            return nc_fail(e, NC_EFORMAT, "%s:%d: %s holds %g", file, v->line, key, out[i]);
    }
    return 0;
}

static void set_defaults(nc_processor *p)
{
    static const double mean[][3] = { { 0.48145466, 0.4578275, 0.40821073 }, { 0.5, 0.5, 0.5 }, { 0.485, 0.456, 0.406 } };
    static const double std[][3] = { { 0.26862954, 0.26130258, 0.27577711 }, { 0.5, 0.5, 0.5 }, { 0.229, 0.224, 0.225 } };
    const nc_processor_class_row *r = p->row;

    p->do_resize = p->do_rescale = p->do_normalize = true;
    p->do_center_crop = r->crops;
    p->do_convert_rgb = r->rgb;
    p->do_pad = r->pads;
    p->filter = r->filter;
    p->rule = r->video ? NC_RESIZE_TORCHVISION : NC_RESIZE_PILLOW;
    p->shortest = r->shortest;
    p->height = r->height;
    p->width = r->width;
    p->crop_height = p->crop_width = r->crop;
    p->factor = 1 / 255.0;
    memcpy(p->mean, mean[r->colors], sizeof p->mean);
    memcpy(p->std, std[r->colors], sizeof p->std);
}

static int read_common(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *v;
    struct { const char *key; bool *to; } flags[] = { { "do_resize", &p->do_resize }, { "do_center_crop", &p->do_center_crop }, { "do_rescale", &p->do_rescale },
        { "do_normalize", &p->do_normalize }, { "do_convert_rgb", &p->do_convert_rgb }, { "do_pad", &p->do_pad } };

    for (int i = 0; i < NC_COUNT(flags); i++)
        if ((v = nc_json_get(config, flags[i].key)) && v->type != NC_JSON_NULL) {
            if (v->type != NC_JSON_BOOL)
                return nc_fail(e, NC_EFORMAT, "%s:%d: %s must be true or false", file, v->line, flags[i].key);
            *flags[i].to = v->boolean;
        }
    if ((v = nc_json_get(config, "resample")) && v->type != NC_JSON_NULL) {
        int64_t n;
        if (!nc_json_int_exact(v, &n) || n < 0 || n > NC_HAMMING)
            return nc_fail(e, NC_EFORMAT, "%s:%d: resample must be 0 to 5", file, v->line);
        p->filter = (int)n;
    }
    if ((v = nc_json_get(config, "rescale_factor")) && v->type != NC_JSON_NULL)
        p->factor = nc_json_double(v, p->factor);
    NC_TRY(read_size(p, nc_json_get(config, "size"), file, e));
    NC_TRY(read_crop(p, nc_json_get(config, "crop_size"), file, e));
    NC_TRY(read_colors(config, "image_mean", p->mean, false, file, e));
    return read_colors(config, "image_std", p->std, true, file, e);
}

int nc_processor_parse(nc_arena *a, const nc_json *config, const nc_json *overrides, const char *file, nc_processor **out, nc_error *e)
{
    nc_processor *p = NC_NEW(a, nc_processor);

    if (!nc_json_is(config, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "%s: an object was expected", file);
    if (overrides) {
        nc_json *both = nc_json_clone(a, config);
        NC_JSON_EACH(v, overrides)
            nc_json_set(a, both, v->key.p, nc_json_clone(a, v));
        config = both;
    }
    NC_TRY(find_class(p, config, file, e));
    NC_TRY(check_keys(p, config, file, e));
    set_defaults(p);
    NC_TRY(read_common(p, config, file, e));
    if (p->family->parse)
        NC_TRY(p->family->parse(p, config, file, e));
    *out = p;
    return 0;
}

/* The tree for kind: from a file of its own, or from processor_config.json under its key. */
static const nc_json *find_config(nc_arena *a, const char *folder, const char *name, const char *inner, char **file, nc_error *e)
{
    nc_json *v;
    *file = nc_path_join(a, folder, name);
    if (nc_file_exists(*file))
        return nc_json_load(a, *file, &v, e) == 0 ? v : NULL;
    *file = nc_path_join(a, folder, "processor_config.json");
    if (nc_file_exists(*file) && nc_json_load(a, *file, &v, e) == 0)
        return nc_json_get(v, inner);
    return NULL;
}

int nc_processor_open(nc_arena *a, const char *folder, int kind, nc_processor **out, nc_error *e)
{
    nc_error inner = { 0 };
    char *file;
    const nc_json *v = NULL;

    *out = NULL;
    if (kind == NC_PROCESS_VIDEO)
        v = find_config(a, folder, "video_preprocessor_config.json", "video_processor", &file, &inner);
    if (!v && !inner.code)
        v = find_config(a, folder, "preprocessor_config.json", "image_processor", &file, &inner);
    if (inner.code)
        return nc_fail(e, inner.code, "%s", inner.message);
    if (!v)
        return nc_fail(e, NC_ENOTFOUND, "%s: holds no preprocessor_config.json", folder);
    NC_TRY(nc_processor_parse(a, v, NULL, file, out, e));
    if (kind == NC_PROCESS_VIDEO && !(*out)->family->video)
        return nc_fail(e, NC_ENOTFOUND, "%s: class %s takes no videos", file, (*out)->row->name);
    return 0;
}

int nc_processor_tokens_load(nc_arena *a, const char *folder, nc_processor_tokens *out, nc_error *e)
{
    nc_json *v;
    char *file = nc_path_join(a, folder, "processor_config.json");
    *out = (nc_processor_tokens){ 0 };
    if (!nc_file_exists(file))
        return nc_fail(e, NC_ENOTFOUND, "%s: not found", file);
    NC_TRY(nc_json_load(a, file, &v, e));
    NC_TRY(read_side(nc_json_get(v, "patch_size"), file, "patch_size", &out->patch_size, e));
    out->num_additional_image_tokens = (int)nc_json_int(nc_json_get(v, "num_additional_image_tokens"), 0);
    out->num_image_tokens = (int)nc_json_int(nc_json_get(v, "num_image_tokens"), 0);
    out->vision_feature_select_strategy = nc_json_string(nc_json_get(v, "vision_feature_select_strategy"), NULL);
    out->image_token = nc_json_string(nc_json_get(v, "image_token"), NULL);
    out->video_token = nc_json_string(nc_json_get(v, "video_token"), NULL);
    out->vision_aspect_ratio = nc_json_string(nc_json_get(v, "vision_aspect_ratio"), NULL);
    return 0;
}

static int run(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e,
               int (*work)(const nc_processor *, nc_arena *, const nc_image *, int, nc_features *, nc_error *))
{
    nc_image *rgb = nc_xcalloc((size_t)count, sizeof *rgb);
    int code = 0;
    for (int i = 0; i < count && code == 0; i++) {
        code = nc_image_copy(&images[i], &rgb[i], e);
        if (code == 0)
            code = nc_image_rgb(&rgb[i], e);
    }
    if (code == 0)
        code = work(p, a, rgb, count, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&rgb[i]);
    free(rgb);
    return code < 0 ? nc_fail_in(e, "%s", p->row->name) : 0;
}

int nc_processor_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    *out = (nc_features){ 0 };
    if (count < 1 || count > 65536 || (p->family->one && count != 1))
        return nc_fail(e, NC_EINVAL, "%s: %d pictures at once; it takes %s", p->row->name, count, p->family->one ? "one" : "1 to 65536");
    return run(p, a, images, count, out, e, p->family->run);
}

int nc_processor_video(const nc_processor *p, nc_arena *a, const nc_image *frames, int count, nc_features *out, nc_error *e)
{
    *out = (nc_features){ 0 };
    if (!p->family->video)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: takes no videos", p->row->name);
    if (count < 1 || count > 65536)
        return nc_fail(e, NC_EINVAL, "%s: %d frames; 1 to 65536 can be", p->row->name, count);
    return run(p, a, frames, count, out, e, p->family->video);
}

int nc_processor_sample(const nc_processor *p, int n, double fps, int want, int *index, nc_error *e)
{
    return p->sample ? p->sample(p, n, fps, want, index, e) : 0;
}

const nc_feature *nc_features_get(const nc_features *f, const char *name)
{
    for (int i = 0; i < f->count; i++)
        if (strcmp(f->item[i].name, name) == 0)
            return &f->item[i];
    return NULL;
}

const char *nc_processor_class(const nc_processor *p) { return p->row->name; }

void nc_processor_size(const nc_processor *p, int *height, int *width)
{
    *height = p->do_center_crop && p->crop_height ? p->crop_height : p->height;
    *width = p->do_center_crop && p->crop_width ? p->crop_width : p->width;
}

int nc_processor_longest(const nc_processor *p) { return p->longest; }

void nc_processor_colors(const nc_processor *p, double mean[3], double std[3])
{
    memcpy(mean, p->mean, sizeof p->mean);
    memcpy(std, p->std, sizeof p->std);
}
