/* video.c - reading: a file's bytes -> packets -> frames -> RGB. See video.h for the formula.
 *
 * Frames are counted by packets (no decoding); a choice of indices is then decoded in one pass from the start, since seeking is exact
 * in few files and clips are short. Formats are a fixed list; every read goes to the bytes in memory.
 */
#include "media/video.h"
#include "base/file.h"
#include "media/ffmpeg.h"
#include <stdlib.h>
#include <string.h>

static const char demuxers[] = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,ivf,h264,hevc,asf";

struct nc_video {
    nc_video_options o;
    nc_mapped file;                  /* when opened by path */
    const uint8_t *p;
    size_t n, at;
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *codec;
    int stream;
    double *times;
    int frames;
    int64_t no_pts_delay;            /* of files without presentation times (AVI): one packet's duration, in the stream's units */
};

/* The formula's constants for one matrix and range: luma scale, R from V, B from U, G from U and V, luma offset times 8. */
static void constants(const AVCodecParameters *p, enum AVPixelFormat format, int k[6])
{
    static const int table[4][6] = {
        { 9539, 13075, 16525, -3209, -6660, 128 }, { 9539, 14686, 17305, -1747, -4366, 128 },
        { 8192, 11485, 14516, -2819, -5850, 0 },   { 8192, 12901, 15201, -1534, -3835, 0 },
    };
    const bool full = p->color_range == AVCOL_RANGE_JPEG || format == AV_PIX_FMT_YUVJ420P || format == AV_PIX_FMT_YUVJ422P ||
                      format == AV_PIX_FMT_YUVJ444P || format == AV_PIX_FMT_YUVJ440P;
    memcpy(k, table[2 * full + (p->color_space == AVCOL_SPC_BT709)], sizeof table[0]);
}

static int read_memory(void *opaque, uint8_t *to, int n)
{
    nc_video *v = opaque;
    size_t left = v->n - v->at, take = (size_t)n < left ? (size_t)n : left;
    if (!take)
        return AVERROR_EOF;
    memcpy(to, v->p + v->at, take);
    v->at += take;
    return (int)take;
}

static int64_t seek_memory(void *opaque, int64_t offset, int whence)
{
    nc_video *v = opaque;
    if (whence & AVSEEK_SIZE)
        return (int64_t)v->n;
    whence &= ~AVSEEK_FORCE;
    int64_t base = whence == SEEK_CUR ? (int64_t)v->at : whence == SEEK_END ? (int64_t)v->n : 0, at;
    if (__builtin_add_overflow(base, offset, &at) || at < 0 || at > (int64_t)v->n)
        return AVERROR(EINVAL);
    v->at = (size_t)at;
    return at;
}

static int av_fail(nc_error *e, int code, const char *doing)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    nc_ffmpeg.av_strerror(code, text, sizeof text);
    return nc_fail(e, code == AVERROR(ENOMEM) ? NC_ENOMEM : NC_EFORMAT, "video: %s: %s", doing, text);
}

static void close_streams(nc_video *v)
{
    nc_ffmpeg.avcodec_free_context(&v->codec);
    nc_ffmpeg.avformat_close_input(&v->format);
    if (v->io)
        nc_ffmpeg.av_freep(&v->io->buffer);
    nc_ffmpeg.avio_context_free(&v->io);
}

/* Opens demuxer and decoder at the start of the bytes. */
static int open_streams(nc_video *v, nc_error *e)
{
    enum { buffer_bytes = 32768 };
    v->at = 0;
    uint8_t *buffer = nc_ffmpeg.av_malloc(buffer_bytes);
    v->io = buffer ? nc_ffmpeg.avio_alloc_context(buffer, buffer_bytes, 0, v, read_memory, NULL, seek_memory) : NULL;
    v->format = v->io ? nc_ffmpeg.avformat_alloc_context() : NULL;
    if (!v->format)
        return nc_fail(e, NC_ENOMEM, "video: no memory for the demuxer");
    v->format->pb = v->io;
    v->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    v->format->format_whitelist = nc_ffmpeg.av_strdup(demuxers);
    v->format->protocol_whitelist = nc_ffmpeg.av_strdup("");
    v->format->max_streams = 64;
    int code = nc_ffmpeg.avformat_open_input(&v->format, NULL, NULL, NULL);
    if (code < 0)
        return av_fail(e, code, "not a video file in a known format (mp4, mov, webm, mkv, avi), or damaged");
    v->format->max_analyze_duration = 5 * AV_TIME_BASE;
    if ((code = nc_ffmpeg.avformat_find_stream_info(v->format, NULL)) < 0)
        return av_fail(e, code, "cannot read the streams");
    const AVCodec *decoder = NULL;
    v->stream = nc_ffmpeg.av_find_best_stream(v->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (v->stream < 0 || !decoder)
        return nc_fail(e, v->stream == AVERROR_DECODER_NOT_FOUND ? NC_EUNSUPPORTED : NC_EFORMAT,
                       v->stream == AVERROR_DECODER_NOT_FOUND ? "video: no decoder for the stream's codec; convert it to H.264"
                                                              : "video: the file holds no video stream");
    const AVCodecParameters *p = v->format->streams[v->stream]->codecpar;
    if (p->width < 1 || p->height < 1)
        return nc_fail(e, NC_EFORMAT, "video: the stream states no picture size");
    if ((int64_t)p->width * p->height > v->o.max_pixels)
        return nc_fail(e, NC_ELIMIT, "video: frames of %d x %d are over the limit of %lld pixels", p->width, p->height, (long long)v->o.max_pixels);
    v->codec = nc_ffmpeg.avcodec_alloc_context3(decoder);
    if (!v->codec || nc_ffmpeg.avcodec_parameters_to_context(v->codec, p) < 0)
        return nc_fail(e, NC_ENOMEM, "video: no memory for the decoder");
    v->codec->thread_count = 1;
    v->codec->max_pixels = v->o.max_pixels;
    v->codec->pkt_timebase = v->format->streams[v->stream]->time_base;
    if ((code = nc_ffmpeg.avcodec_open2(v->codec, decoder, NULL)) < 0)
        return av_fail(e, code, "cannot start the decoder");
    for (unsigned i = 0; i < v->format->nb_streams; i++)
        if ((int)i != v->stream)
            v->format->streams[i]->discard = AVDISCARD_ALL;
    return 0;
}

static int order_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Walks all packets: how many frames, at what times. A packet that states when it is decoded but not when it is shown (AVI) is shown when the next
 * is decoded, which is what FFmpeg's newer versions report; one without any time takes the place after the one before. */
static int scan(nc_video *v, nc_error *e)
{
    const AVStream *s = v->format->streams[v->stream];
    const double unit = av_q2d(s->time_base);
    AVPacket *packet = nc_ffmpeg.av_packet_alloc();
    int capacity = 0, code = 0, read;

    while (code == 0 && (read = nc_ffmpeg.av_read_frame(v->format, packet)) >= 0) {
        if (packet->stream_index == v->stream && !(packet->flags & AV_PKT_FLAG_DISCARD)) {
            if (v->frames == v->o.max_frames) {
                code = nc_fail(e, NC_ELIMIT, "video: more than %d frames; cut the video", v->o.max_frames);
            } else {
                if (v->frames == capacity)
                    v->times = nc_xrealloc(v->times, (size_t)(capacity = capacity ? 2 * capacity : 256) * sizeof *v->times);
                if (packet->pts == AV_NOPTS_VALUE && packet->dts != AV_NOPTS_VALUE && !v->no_pts_delay && packet->duration > 0)
                    v->no_pts_delay = packet->duration;
                int64_t t = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
                if (t != AV_NOPTS_VALUE && packet->pts == AV_NOPTS_VALUE && __builtin_add_overflow(t, v->no_pts_delay, &t))
                    t = AV_NOPTS_VALUE;
                double rate = av_q2d(s->avg_frame_rate);
                v->times[v->frames] = t != AV_NOPTS_VALUE ? (double)t * unit
                                      : v->frames         ? v->times[v->frames - 1] + (rate > 0 ? 1 / rate : unit)
                                                          : 0;
                v->frames++;
            }
        }
        nc_ffmpeg.av_packet_unref(packet);
    }
    nc_ffmpeg.av_packet_free(&packet);
    if (code < 0)
        return code;
    if (!v->frames)
        return nc_fail(e, NC_EFORMAT, "video: the file holds no frames; it may be cut short");
    qsort(v->times, (size_t)v->frames, sizeof *v->times, order_times);
    if (v->times[v->frames - 1] - v->times[0] > v->o.max_seconds)
        return nc_fail(e, NC_ELIMIT, "video: %.0f s long, the limit is %.0f s; cut the video", v->times[v->frames - 1] - v->times[0], v->o.max_seconds);
    return 0;
}

static nc_video *video_new(const nc_video_options *options)
{
    nc_video *v = nc_xcalloc(1, sizeof *v);
    v->o = options ? *options : (nc_video_options){ 0 };
    v->o.max_bytes = v->o.max_bytes ? v->o.max_bytes : (size_t)1 << 30;
    v->o.max_pixels = v->o.max_pixels ? v->o.max_pixels : 33177600;
    v->o.max_frames = v->o.max_frames ? v->o.max_frames : 100000;
    v->o.max_taken = v->o.max_taken ? v->o.max_taken : 1024;
    v->o.max_seconds = v->o.max_seconds > 0 ? v->o.max_seconds : 4 * 3600;
    return v;
}

static int start(nc_video *v, nc_video **out, nc_error *e)
{
    int code = v->n > v->o.max_bytes ? nc_fail(e, NC_ELIMIT, "video: %zu bytes, the limit is %zu", v->n, v->o.max_bytes) : 0;
    if (code == 0)
        code = open_streams(v, e);
    if (code == 0)
        code = scan(v, e);
    if (code < 0) {
        nc_video_free(v);
        return code;
    }
    *out = v;
    return 0;
}

int nc_video_open_memory(const void *bytes, size_t n, const nc_video_options *options, nc_video **out, nc_error *e)
{
    *out = NULL;
    NC_TRY(nc_ffmpeg_open(e));
    nc_video *v = video_new(options);
    v->p = bytes;
    v->n = n;
    return start(v, out, e);
}

int nc_video_open(const char *path, const nc_video_options *options, nc_video **out, nc_error *e)
{
    *out = NULL;
    NC_TRY(nc_ffmpeg_open(e));
    nc_video *v = video_new(options);
    int code = nc_map_file(path, &v->file, e);
    if (code < 0) {
        free(v);
        return code;
    }
    v->p = v->file.p;
    v->n = v->file.n;
    code = start(v, out, e);
    return code < 0 ? nc_fail_in(e, "%s", path) : 0;
}

void nc_video_free(nc_video *v)
{
    if (!v)
        return;
    close_streams(v);
    if (v->file.p)
        nc_unmap_file(&v->file);
    free(v->times);
    free(v);
}

bool nc_video_match(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    return n >= 12 && (memcmp(p + 4, "ftyp", 4) == 0 || memcmp(p, "\x1a\x45\xdf\xa3", 4) == 0 ||
                       (memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "AVI ", 4) == 0));
}

void nc_video_describe(const nc_video *v, nc_video_info *out)
{
    const AVStream *s = v->format->streams[v->stream];
    *out = (nc_video_info){ .width = s->codecpar->width, .height = s->codecpar->height, .frames = v->frames,
                            .fps = s->avg_frame_rate.den ? av_q2d(s->avg_frame_rate) : 0,
                            .duration = v->times[v->frames - 1] - v->times[0], .codec = nc_ffmpeg.avcodec_get_name(s->codecpar->codec_id) };
    constants(s->codecpar, s->codecpar->format, out->color);
}

const double *nc_video_times(const nc_video *v) { return v->times; }

static inline uint8_t clip8(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

static void yuv_row(const uint8_t *y, const uint8_t *u, const uint8_t *w, int shift, int width, const int k[6], uint8_t *to)
{
    for (int x = 0; x < width; x++, to += 3) {
        const int l = ((y[x] * 8 - k[5]) * k[0]) >> 16, cb = (u[x >> shift] - 128) * 8, cr = (w[x >> shift] - 128) * 8;
        to[0] = clip8(l + ((cr * k[1]) >> 16));
        to[1] = clip8(l + ((cb * k[3]) >> 16) + ((cr * k[4]) >> 16));
        to[2] = clip8(l + ((cb * k[2]) >> 16));
    }
}

/* Samples of more than 8 bits, little endian, rounded to 8. */
static void narrow_row(const uint8_t *p, int n, int depth, uint8_t *to)
{
    const int shift = depth - 8, most = (1 << depth) - 1;
    for (int x = 0; x < n; x++) {
        int s = p[2 * x] | p[2 * x + 1] << 8;
        s = s > most ? most : s;
        to[x] = clip8((s + (1 << (shift - 1))) >> shift);
    }
}

static void yuv_picture(const AVFrame *f, const AVPixFmtDescriptor *d, const int k[6], nc_image *out)
{
    const int depth = d->comp[0].depth, cw = AV_CEIL_RSHIFT(f->width, d->log2_chroma_w);
    uint8_t *line = depth > 8 || d->nb_components < 3 ? nc_xmalloc(3 * (size_t)f->width) : NULL;

    for (int y = 0; y < f->height; y++) {
        const uint8_t *row[3];
        for (int i = 0; i < 3; i++) {
            const int down = i ? d->log2_chroma_h : 0;
            if (i && d->nb_components < 3) {
                row[i] = memset(line + (size_t)i * (size_t)f->width, 128, (size_t)f->width);
                continue;
            }
            row[i] = f->data[i] + (ptrdiff_t)(y >> down) * f->linesize[i];
            if (depth > 8) {
                narrow_row(row[i], i ? cw : f->width, depth, line + (size_t)i * (size_t)f->width);
                row[i] = line + (size_t)i * (size_t)f->width;
            }
        }
        yuv_row(row[0], row[1], row[2], d->nb_components < 3 ? 0 : d->log2_chroma_w, f->width, k, out->pixels + (size_t)y * (size_t)f->width * 3);
    }
    free(line);
}

/* RGB in any 8-bit arrangement, packed or planar, as the descriptor says. */
static void rgb_picture(const AVFrame *f, const AVPixFmtDescriptor *d, nc_image *out)
{
    for (int y = 0; y < f->height; y++)
        for (int x = 0; x < f->width; x++)
            for (int i = 0; i < 3; i++)
                out->pixels[((size_t)y * (size_t)f->width + (size_t)x) * 3 + (size_t)i] =
                    f->data[d->comp[i].plane][(ptrdiff_t)y * f->linesize[d->comp[i].plane] + d->comp[i].offset + x * d->comp[i].step];
}

static int to_rgb(const nc_video *v, const AVFrame *f, nc_image *out, nc_error *e)
{
    const AVPixFmtDescriptor *d = nc_ffmpeg.av_pix_fmt_desc_get(f->format);
    int k[6];

    if (!d || (d->flags & (AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BE)) ||
        (d->flags & AV_PIX_FMT_FLAG_RGB ? d->comp[0].depth != 8
                                        : d->nb_components >= 3 ? !(d->flags & AV_PIX_FMT_FLAG_PLANAR) || d->comp[1].plane == d->comp[2].plane
                                                                : d->nb_components != 1) ||
        d->comp[0].depth < 8 || d->comp[0].depth > 16)
        return nc_fail(e, NC_EUNSUPPORTED, "video: pixel format %s is not read; convert it to yuv420p", d ? d->name : "unknown");
    if (f->width < 1 || f->height < 1 || (int64_t)f->width * f->height > v->o.max_pixels)
        return nc_fail(e, NC_ELIMIT, "video: a frame of %d x %d is over the limit", f->width, f->height);
    NC_TRY(nc_image_new(f->width, f->height, 3, out, e));
    if (d->flags & AV_PIX_FMT_FLAG_RGB) {
        rgb_picture(f, d, out);
    } else {
        AVCodecParameters p = *v->format->streams[v->stream]->codecpar;
        if (f->colorspace != AVCOL_SPC_UNSPECIFIED)
            p.color_space = f->colorspace;
        if (f->color_range != AVCOL_RANGE_UNSPECIFIED)
            p.color_range = f->color_range;
        constants(&p, f->format, k);
        yuv_picture(f, d, k, out);
    }
    return 0;
}

/* Calls take for every decoded frame with its index; a result of 1 stops without error. */
typedef int take_fn(void *context, const AVFrame *f, int index, double time, nc_error *e);

static int drain(nc_video *v, AVFrame *f, int *index, take_fn *take, void *context, nc_error *e)
{
    const double unit = av_q2d(v->format->streams[v->stream]->time_base);
    int code;
    while ((code = nc_ffmpeg.avcodec_receive_frame(v->codec, f)) >= 0) {
        if (*index >= v->o.max_frames)
            return nc_fail(e, NC_ELIMIT, "video: more than %d frames; cut the video", v->o.max_frames);
        const int64_t late = f->pts == AV_NOPTS_VALUE ? v->no_pts_delay : 0;
        double time = f->best_effort_timestamp != AV_NOPTS_VALUE ? ((double)f->best_effort_timestamp + (double)late) * unit
                      : *index < v->frames                       ? v->times[*index]
                                                                 : 0;
        code = take(context, f, (*index)++, time, e);
        nc_ffmpeg.av_frame_unref(f);
        if (code)
            return code;
    }
    return 0;
}

/* A packet the decoder refuses is skipped; a stream of which nothing decodes is an error of the caller's. */
static int decode_all(nc_video *v, take_fn *take, void *context, int *decoded, nc_error *e)
{
    close_streams(v);
    NC_TRY(open_streams(v, e));
    AVPacket *packet = nc_ffmpeg.av_packet_alloc();
    AVFrame *f = nc_ffmpeg.av_frame_alloc();
    int index = 0, code = 0;

    while (code == 0 && nc_ffmpeg.av_read_frame(v->format, packet) >= 0) {
        if (packet->stream_index == v->stream && nc_ffmpeg.avcodec_send_packet(v->codec, packet) >= 0)
            code = drain(v, f, &index, take, context, e);
        nc_ffmpeg.av_packet_unref(packet);
    }
    if (code == 0 && nc_ffmpeg.avcodec_send_packet(v->codec, NULL) >= 0)
        code = drain(v, f, &index, take, context, e);
    nc_ffmpeg.av_frame_free(&f);
    nc_ffmpeg.av_packet_free(&packet);
    *decoded = index;
    if (code >= 0 && index == 0)
        return nc_fail(e, NC_EFORMAT, "video: no frame could be decoded; the file is damaged");
    return code < 0 ? code : 0;
}

struct wanted { nc_video *v; const int *index; int count, next; nc_image *frames; double *times; nc_ready_fn *ready; void *context; };

static int take_wanted(void *context, const AVFrame *f, int index, double time, nc_error *e)
{
    struct wanted *w = context;
    while (w->next < w->count && w->index[w->next] == index) {
        if (w->next > 0 && w->index[w->next - 1] == index)
            NC_TRY(nc_image_copy(&w->frames[w->next - 1], &w->frames[w->next], e));
        else {
            NC_TRY(to_rgb(w->v, f, &w->frames[w->next], e));
            NC_TRY(w->ready ? w->ready(w->context, &w->frames[w->next], e) : 0);
        }
        if (w->times)
            w->times[w->next] = time;
        w->next++;
    }
    return w->next == w->count;
}

static int read_frames(nc_video *v, const int *index, int count, nc_image *frames, double *times, nc_ready_fn *ready, void *context, int *decoded, nc_error *e)
{
    struct wanted w = { v, index, count, 0, frames, times, ready, context };

    if (count < 1 || count > v->o.max_taken)
        return nc_fail(e, NC_ELIMIT, "video: %d frames asked for, 1 to %d can be taken at once", count, v->o.max_taken);
    for (int i = 0; i < count; i++) {
        frames[i] = (nc_image){ 0 };
        if (index[i] < 0 || (i && index[i] < index[i - 1]))
            return nc_fail(e, NC_EINVAL, "video: frame indices must ascend from 0");
    }
    int code = decode_all(v, take_wanted, &w, decoded, e);
    if (code == 0 && w.next < count)
        code = nc_fail(e, NC_ENOTFOUND, "video: frame %d was asked for, %d could be decoded", index[w.next], *decoded);
    if (code < 0)
        for (int i = 0; i < count; i++)
            nc_image_free(&frames[i]);
    return code;
}

int nc_video_read(nc_video *v, const int *index, int count, nc_image *frames, double *times, nc_error *e)
{
    int decoded;
    return read_frames(v, index, count, frames, times, NULL, NULL, &decoded, e);
}

static int take(nc_video *v, nc_choose_fn *choose, nc_ready_fn *ready, void *context, nc_image *frames, double *times, int *index, int *taken, int *of, nc_error *e)
{
    int n = v->frames, code = NC_EINVAL;
    *taken = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        int decoded = 0, count = code = choose(context, n, v->times, index, e);
        if (count >= 0)
            code = read_frames(v, index, count, frames, times, ready, context, &decoded, e);
        if (code == 0)
            *taken = count;
        *of = n;
        if (code != NC_ENOTFOUND || decoded < 1 || decoded >= n)
            break;
        n = decoded;
    }
    return code;
}

int nc_video_take(nc_video *v, nc_choose_fn *choose, nc_ready_fn *ready, void *context, nc_image *frames, int *index, int *taken, int *of, nc_error *e)
{
    return take(v, choose, ready, context, frames, NULL, index, taken, of, e);
}

struct by_rule { nc_sampling rule; int k; };

static int choose_by_rule(void *context, int n, const double *times, int *index, nc_error *e)
{
    const struct by_rule *r = context;
    int count = r->k > n && r->rule != NC_SAMPLE_TIME && r->rule != NC_SAMPLE_LINSPACE ? n : r->k;
    NC_TRY(nc_sample_frames(r->rule, n, count, times, index, e));
    return count;
}

int nc_video_sample(nc_video *v, nc_sampling rule, int k, nc_image *frames, double *times, int *taken, nc_error *e)
{
    int of;
    *taken = 0;
    if (k < 1 || k > v->o.max_taken)
        return nc_fail(e, NC_ELIMIT, "video: %d frames asked for, 1 to %d can be taken at once", k, v->o.max_taken);
    int *index = nc_xmalloc((size_t)k * sizeof *index);
    int code = take(v, choose_by_rule, NULL, &(struct by_rule){ rule, k }, frames, times, index, taken, &of, e);
    free(index);
    return code;
}

struct each { nc_video *v; nc_video_fn *fn; void *context; };

static int take_each(void *context, const AVFrame *f, int index, double time, nc_error *e)
{
    struct each *w = context;
    const AVPixFmtDescriptor *d = nc_ffmpeg.av_pix_fmt_desc_get(f->format);
    nc_video_planes p = { .index = index, .width = f->width, .height = f->height, .time = time };
    nc_image rgb;

    NC_TRY(to_rgb(w->v, f, &rgb, e));
    for (int i = 0; i < 3 && d && f->data[i]; i++) {
        p.plane[i] = f->data[i];
        p.stride[i] = f->linesize[i];
        p.plane_width[i] = i ? AV_CEIL_RSHIFT(f->width, d->log2_chroma_w) : f->width;
        p.plane_height[i] = i ? AV_CEIL_RSHIFT(f->height, d->log2_chroma_h) : f->height;
    }
    int code = w->fn(w->context, &p, &rgb, e);
    nc_image_free(&rgb);
    return code;
}

int nc_video_each(nc_video *v, nc_video_fn *fn, void *context, nc_error *e)
{
    struct each w = { v, fn, context };
    int decoded;
    return decode_all(v, take_each, &w, &decoded, e);
}
