/* ffmpeg.c - see ffmpeg.h. */
#include "media/ffmpeg.h"

#define SONAME(library, VERSION) "lib" library ".so." AV_STRINGIFY(VERSION)

struct nc_ffmpeg nc_ffmpeg;

static const char *const files[] = { SONAME("avformat", LIBAVFORMAT_VERSION_MAJOR), SONAME("avcodec", LIBAVCODEC_VERSION_MAJOR), SONAME("avutil", LIBAVUTIL_VERSION_MAJOR), NULL };
static const char *const names[] = { NC_FFMPEG_CALLS(NC_LIBRARY_NAME) };
static nc_late_library library = { files, "libavformat" AV_STRINGIFY(LIBAVFORMAT_VERSION_MAJOR), names, NC_COUNT(names), &nc_ffmpeg, PTHREAD_MUTEX_INITIALIZER, false };

static void quiet(void) { nc_ffmpeg.av_log_set_level(AV_LOG_QUIET); }

int nc_ffmpeg_open(nc_error *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int status = nc_library_open(&library, e);
    if (status < 0)
        return nc_fail_in(e, "video");
    pthread_once(&once, quiet);
    return 0;
}
