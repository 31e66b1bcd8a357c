/* libraries.c - versions of the libraries in use, asked of the libraries where they tell at run time. */
#include "cli/libraries.h"
#include "media/drawing.h"
#include "media/ffmpeg.h"

#include <microhttpd.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <png.h>
#include <stdio.h>
#include <utf8proc.h>
#include <webp/decode.h>
#include <xxhash.h>
#include <yaml.h>

int nc_libraries(nc_library *out, int most)
{
    static char pcre[64], webp[32], xxh[32];
    int v = WebPGetDecoderVersion(), n = 0;
    unsigned x = XXH_versionNumber();
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    snprintf(webp, sizeof webp, "%d.%d.%d", v >> 16, v >> 8 & 255, v & 255);
    snprintf(xxh, sizeof xxh, "%u.%u.%u", x / 10000, x / 100 % 100, x % 100);
    const bool video = nc_ffmpeg_open(NULL) == 0, drawing = nc_drawing_open(NULL) == 0;
    const nc_library all[] = {
        { "FFmpeg", video ? nc_ffmpeg.av_version_info() : "missing" }, { "libpng", png_get_libpng_ver(NULL) }, { "libwebp", webp }, { "pango", drawing ? nc_drawing.pango_version_string() : "missing" },
        { "cairo", drawing ? nc_drawing.cairo_version_string() : "missing" },
        { "PCRE2", pcre }, { "utf8proc", utf8proc_version() }, { "libyaml", yaml_get_version_string() }, { "libmicrohttpd", MHD_get_version() }, { "xxHash", xxh },
    };
    for (; n < most && n < (int)(sizeof all / sizeof *all); n++)
        out[n] = all[n];
    return n;
}
