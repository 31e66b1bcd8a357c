/* speak.c - see speak.h. */
#include "cli/speak.h"

#include "base/file.h"
#include "base/log.h"
#include "media/video.h"

enum { MOST_BEAMS = 64 };

/* The folder's options with the command line's over them. What o points to lives as long as the command line. */
static int read_options(nc_cli *c, const nc_session *s, int64_t beams, nc_generation_options *o, nc_error *e)
{
    const char *json = nc_cli_get(c, "generation");
    nc_decoding *d = NC_NEW(c->arena, nc_decoding);
    *d = *nc_session_decoding(s);
    if (json) {
        nc_json *tree = NULL;
        NC_TRY(nc_json_parse(c->arena, nc_str_of(json), "--generation", &tree, e));
        if (!nc_json_is(tree, NC_JSON_OBJECT))
            return nc_fail(e, NC_EINVAL, "--generation: a JSON object is wanted, such as {\"num_beams\": 4}");
        NC_JSON_EACH(item, tree)
            if (!nc_decoding_knows(item->key))
                return nc_fail(e, NC_EINVAL, "--generation: \"%s\" is no option of generation known here", item->key.p);
        NC_TRY(nc_decoding_read(d, c->arena, tree, "--generation", e));
    }
    d->beams = beams ? (int)beams : d->beams;
    nc_generation_by(d, o);
    return 0;
}

int nc_speak_open(nc_cli *c, const char *folder, nc_session **s, nc_generation_options *o, nc_error *e)
{
    int64_t tokens, beams, top_k, seed, frames, length, threads;
    double temperature, top_p;
    NC_TRY(nc_cli_int(c, "max-tokens", 1, 1 << 24, 0, &tokens, e));
    NC_TRY(nc_cli_int(c, "beams", 1, MOST_BEAMS, 0, &beams, e));
    NC_TRY(nc_cli_int(c, "top-k", 0, 1 << 24, -1, &top_k, e));
    NC_TRY(nc_cli_int(c, "seed", 0, INT64_MAX, -1, &seed, e));
    NC_TRY(nc_cli_int(c, "frames", 1, 1024, 0, &frames, e));
    NC_TRY(nc_cli_int(c, "max-length", 1, 1 << 24, 0, &length, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    NC_TRY(nc_cli_double(c, "temperature", 0, 100, -1, &temperature, e));
    NC_TRY(nc_cli_double(c, "top-p", 0, 1, -1, &top_p, e));
    nc_session_options so = { .dtype = nc_cli_get(c, "dtype"), .engine = { .sequences = nc_cli_get(c, "generation") ? MOST_BEAMS : beams ? (int)beams : 1, .max_length = (int)length }, .template_name = nc_cli_get(c, "template"),
                              .visual = { .frames = (int)frames }, .threads = (int)threads };
    NC_TRY(nc_session_open(folder, &so, s, e));
    nc_loaded *l = nc_session_loaded(*s);
    if (l->warnings.n)
        nc_warn("%s: %.*s", l->folder, (int)strcspn(l->warnings.p, "\n"), l->warnings.p);
    NC_TRY(read_options(c, *s, beams, o, e));
    o->max_tokens = tokens ? (int)tokens : o->max_tokens;
    o->sample.temperature = temperature >= 0 ? temperature : o->sample.temperature;
    if (temperature > 0 && !beams)
        o->beams = 0;
    o->sample.top_p = top_p >= 0 ? top_p : o->sample.top_p;
    o->sample.top_k = top_k >= 0 ? (int)top_k : o->sample.top_k;
    o->sample.seed = seed >= 0 ? (uint64_t)seed : o->sample.seed;
    return 0;
}

int nc_speak_attachment(const char *path, nc_attachment *out, nc_error *e)
{
    nc_mapped m;
    NC_TRY(nc_map_file(path, &m, e));
    *out = (nc_attachment){ .is_video = nc_video_match(m.p, m.n), .name = path };
    bool known = out->is_video || nc_image_format(m.p, m.n);
    nc_unmap_file(&m);
    return known ? 0 : nc_fail(e, NC_EFORMAT, "%s: neither a picture nor a video of a known format", path);
}
