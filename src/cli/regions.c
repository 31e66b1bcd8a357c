/* regions.c - see regions.h. */
#include "cli/regions.h"

#include "base/clock.h"
#include "base/file.h"

const nc_json *nc_regions_banned(nc_arena *a, const char *folder)
{
    nc_json *v = NULL;
    nc_error ignored = { 0 };
    const char *path = nc_path_join(a, folder, "processor_config.json");
    if (!nc_file_exists(path) || nc_json_load(a, path, &v, &ignored) < 0)
        return NULL;
    const nc_json *list = nc_json_path(v, "post_processor_config.phrase_grounding.banned_grounding_tokens");
    return nc_json_is(list, NC_JSON_ARRAY) ? list : NULL;
}

int nc_regions_ask(nc_session *s, nc_arena *a, const char *task, const nc_attachment *at, const nc_generation_options *o, nc_told *out, nc_error *e)
{
    nc_reading reading;
    nc_generation *x = NULL;
    nc_generation_options with = *o;
    nc_buf text = { 0 };
    double begin = nc_now();
    *out = (nc_told){ .form = nc_region_form_of(task) };
    NC_TRY(nc_session_read_source(s, nc_str_of(task), at, 1, &reading, e));
    const nc_media seen = *nc_pictures_media(reading.pictures[0]);
    with.keep_special = true;
    int status = nc_generation_start(nc_session_engine(s), &reading.prompt, &with, &x, e);
    nc_reading_free(&reading);
    NC_TRY(status);
    for (nc_piece *p; (p = nc_generation_next(x, -1)); nc_piece_free(p)) {
        nc_buf_add(&text, p->text.p ? p->text.p : "", p->text.n);
        if (p->finish == NC_FINISH_ERROR) {
            *e = p->error;
            status = p->error.code;
        }
    }
    out->new_tokens = nc_generation_new_tokens(x);
    out->seconds = nc_now() - begin;
    nc_generation_free(x);
    nc_str whole = { text.p ? text.p : "", text.n };
    if (status == 0) {
        nc_regions_read(a, out->form, whole, seen.original_width, seen.original_height, nc_regions_banned(a, nc_session_loaded(s)->folder), &out->regions);
        out->text = nc_regions_words(a, whole);
    }
    nc_buf_free(&text);
    return status;
}

static void add_numbers(nc_buf *b, const nc_region *r)
{
    nc_buf_adds(b, "[");
    for (int i = 0; i < r->count; i++)
        nc_buf_printf(b, "%s%d", i ? ", " : "", r->xy[i]);
    nc_buf_adds(b, "]");
}

int nc_regions_members(nc_buf *b, const nc_regions *r, int i)
{
    static const char *const names[] = { [NC_REGION_BOX] = "box", [NC_REGION_QUAD] = "quad", [NC_REGION_POLYGON] = "polygons" };
    const nc_region *first = &r->item[i];
    const bool polygons = first->kind == NC_REGION_POLYGON;
    nc_buf_json_string(b, nc_str_of(first->label));
    nc_buf_printf(b, ", \"%s\": %s", names[first->kind], polygons ? "[" : "");
    for (; i < r->count && r->item[i].number == first->number; i++) {
        nc_buf_adds(b, &r->item[i] == first ? "" : ", ");
        add_numbers(b, &r->item[i]);
    }
    nc_buf_adds(b, polygons ? "]" : "");
    return i;
}
