/* video_write.c - RGB frames to H.264 in mp4, the same bytes for the same frames.
 *
 * RGB -> YUV in integers, BT.601 limited range: Y = 16 + (16829 R + 33039 G + 6416 B) / 2^16, chroma from the mean of each 2 x 2 block:
 * U = 128 + (-9714 R - 19071 G + 28785 B) / 2^16, V = 128 + (28785 R - 24103 G - 4682 B) / 2^16. Quantizer constant (no rate control whose
 * floating point could differ between machines), no scene cut, B frames off, so that time stamps are the frame numbers.
 */
#include "media/video.h"
#include "base/file.h"
#include "media/ffmpeg.h"
#include <stdlib.h>
#include <string.h>

enum { quantizer = 24, most_frames = 1 << 20 };

struct sink { nc_buf *out; size_t start, at; };

static int write_memory(void *opaque, uint8_t *bytes, int n)
{
    struct sink *s = opaque;
    size_t at = s->start + s->at, end = at + (size_t)n;
    if (end > s->out->n) {
        nc_buf_reserve(s->out, end - s->out->n);
        s->out->n = end;
        s->out->p[end] = 0;
    }
    memcpy(s->out->p + at, bytes, (size_t)n);
    s->at += (size_t)n;
    return n;
}

static int64_t seek_memory(void *opaque, int64_t offset, int whence)
{
    struct sink *s = opaque;
    const int64_t size = (int64_t)(s->out->n - s->start);
    if (whence & AVSEEK_SIZE)
        return size;
    int64_t at = offset + (whence == SEEK_CUR ? (int64_t)s->at : whence == SEEK_END ? size : 0);
    if (at < 0 || at > size)
        return AVERROR(EINVAL);
    s->at = (size_t)at;
    return at;
}

static void fill_frame(const nc_image *im, AVFrame *f)
{
    const size_t stride = (size_t)im->width * 3;
    for (int y = 0; y < im->height; y += 2)
        for (int x = 0; x < im->width; x += 2) {
            int r = 0, g = 0, b = 0;
            for (int i = 0; i < 4; i++) {
                const uint8_t *p = im->pixels + (size_t)(y + i / 2) * stride + (size_t)(x + i % 2) * 3;
                f->data[0][(y + i / 2) * f->linesize[0] + x + i % 2] = (uint8_t)(16 + ((16829 * p[0] + 33039 * p[1] + 6416 * p[2] + 32768) >> 16));
                r += p[0];
                g += p[1];
                b += p[2];
            }
            f->data[1][y / 2 * f->linesize[1] + x / 2] = (uint8_t)(128 + ((-9714 * r - 19071 * g + 28785 * b + 131072) >> 18));
            f->data[2][y / 2 * f->linesize[2] + x / 2] = (uint8_t)(128 + ((28785 * r - 24103 * g - 4682 * b + 131072) >> 18));
        }
}

struct job {
    AVCodecContext *codec;
    AVFormatContext *format;
    AVIOContext *io;
    AVFrame *frame;
    AVPacket *packet;
};

static void job_free(struct job *j)
{
    nc_ffmpeg.av_packet_free(&j->packet);
    nc_ffmpeg.av_frame_free(&j->frame);
    nc_ffmpeg.avcodec_free_context(&j->codec);
    nc_ffmpeg.avformat_free_context(j->format);
    if (j->io)
        nc_ffmpeg.av_freep(&j->io->buffer);
    nc_ffmpeg.avio_context_free(&j->io);
}

static int start_encoder(struct job *j, int width, int height, int fps, nc_error *e)
{
    const AVCodec *x264 = nc_ffmpeg.avcodec_find_encoder_by_name("libx264");
    if (!x264)
        return nc_fail(e, NC_EUNSUPPORTED, "video: this FFmpeg has no libx264 encoder; install Debian's libavcodec59 or newer");
    j->codec = nc_ffmpeg.avcodec_alloc_context3(x264);
    if (!j->codec)
        return nc_fail(e, NC_ENOMEM, "video: no memory for the encoder");
    AVCodecContext *c = j->codec;
    c->width = width;
    c->height = height;
    c->time_base = (AVRational){ 1, fps };
    c->framerate = (AVRational){ fps, 1 };
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->colorspace = AVCOL_SPC_SMPTE170M;
    c->color_primaries = AVCOL_PRI_SMPTE170M;
    c->color_trc = AVCOL_TRC_SMPTE170M;
    c->color_range = AVCOL_RANGE_MPEG;
    c->thread_count = 1;
    c->gop_size = 64;
    c->max_b_frames = 0;
    c->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
    nc_ffmpeg.av_opt_set(c->priv_data, "preset", "superfast", 0);
    nc_ffmpeg.av_opt_set_int(c->priv_data, "qp", quantizer, 0);
    nc_ffmpeg.av_opt_set(c->priv_data, "x264-params", "threads=1:cpu-independent=1:aq-mode=0:mbtree=0:rc-lookahead=0:sync-lookahead=0:scenecut=0", 0);
    if (nc_ffmpeg.avcodec_open2(c, x264, NULL) < 0)
        return nc_fail(e, NC_EINVAL, "video: the H.264 encoder refuses %d x %d at %d frames a second", width, height, fps);
    return 0;
}

static int start_file(struct job *j, struct sink *s, int fps, nc_error *e)
{
    enum { buffer_bytes = 32768 };
    uint8_t *buffer = nc_ffmpeg.av_malloc(buffer_bytes);
    j->io = buffer ? nc_ffmpeg.avio_alloc_context(buffer, buffer_bytes, 1, s, NULL, write_memory, seek_memory) : NULL;
    if (!j->io || nc_ffmpeg.avformat_alloc_output_context2(&j->format, NULL, "mp4", NULL) < 0)
        return nc_fail(e, NC_ENOMEM, "video: no memory for the file");
    j->format->pb = j->io;
    j->format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    AVStream *st = nc_ffmpeg.avformat_new_stream(j->format, NULL);
    if (!st || nc_ffmpeg.avcodec_parameters_from_context(st->codecpar, j->codec) < 0)
        return nc_fail(e, NC_ENOMEM, "video: no memory for the stream");
    st->time_base = j->codec->time_base;
    st->avg_frame_rate = (AVRational){ fps, 1 };
    j->frame = nc_ffmpeg.av_frame_alloc();
    j->packet = nc_ffmpeg.av_packet_alloc();
    if (!j->frame || !j->packet)
        return nc_fail(e, NC_ENOMEM, "video: no memory for a frame");
    j->frame->format = AV_PIX_FMT_YUV420P;
    j->frame->width = j->codec->width;
    j->frame->height = j->codec->height;
    if (nc_ffmpeg.av_frame_get_buffer(j->frame, 0) < 0 || nc_ffmpeg.avformat_write_header(j->format, NULL) < 0)
        return nc_fail(e, NC_EIO, "video: the mp4 header could not be written");
    return 0;
}

/* NULL sends the end of the stream. */
static int send(struct job *j, const AVFrame *f, nc_error *e)
{
    AVStream *st = j->format->streams[0];
    if (nc_ffmpeg.avcodec_send_frame(j->codec, f) < 0)
        return nc_fail(e, NC_EINVAL, "video: the encoder refused a frame");
    while (nc_ffmpeg.avcodec_receive_packet(j->codec, j->packet) >= 0) {
        j->packet->duration = 1;
        nc_ffmpeg.av_packet_rescale_ts(j->packet, j->codec->time_base, st->time_base);
        j->packet->stream_index = 0;
        if (nc_ffmpeg.av_write_frame(j->format, j->packet) < 0)
            return nc_fail(e, NC_EIO, "video: a frame could not be written");
        nc_ffmpeg.av_packet_unref(j->packet);
    }
    return 0;
}

static int encode(struct job *j, const nc_image *frames, int count, int fps, struct sink *s, nc_error *e)
{
    NC_TRY(start_encoder(j, frames[0].width, frames[0].height, fps, e));
    NC_TRY(start_file(j, s, fps, e));
    for (int i = 0; i < count; i++) {
        if (nc_ffmpeg.av_frame_make_writable(j->frame) < 0)
            return nc_fail(e, NC_ENOMEM, "video: no memory for a frame");
        fill_frame(&frames[i], j->frame);
        j->frame->pts = i;
        NC_TRY(send(j, j->frame, e));
    }
    NC_TRY(send(j, NULL, e));
    if (nc_ffmpeg.av_write_trailer(j->format) < 0)
        return nc_fail(e, NC_EIO, "video: the file could not be finished");
    return 0;
}

int nc_video_encode(const nc_image *frames, int count, int fps, nc_buf *out, nc_error *e)
{
    struct job j = { 0 };
    struct sink s = { out, out->n, 0 };

    if (count < 1 || count > most_frames || fps < 1 || fps > 1000)
        return nc_fail(e, NC_EINVAL, "video: %d frames at %d a second cannot be written", count, fps);
    for (int i = 0; i < count; i++)
        if (frames[i].channels != 3 || frames[i].width != frames[0].width || frames[i].height != frames[0].height ||
            frames[i].width % 2 || frames[i].height % 2)
            return nc_fail(e, NC_EINVAL, "video: frame %d is %d x %d with %d channels; all must be RGB of one size with even sides", i,
                           frames[i].width, frames[i].height, frames[i].channels);
    NC_TRY(nc_ffmpeg_open(e));
    int code = encode(&j, frames, count, fps, &s, e);
    job_free(&j);
    if (code < 0)
        out->n = s.start;
    return code;
}

int nc_video_write(const char *path, const nc_image *frames, int count, int fps, nc_error *e)
{
    nc_buf mp4 = { 0 };
    int code = nc_video_encode(frames, count, fps, &mp4, e);
    if (code == 0)
        code = nc_file_write(path, mp4.p, mp4.n, e);
    nc_buf_free(&mp4);
    return code;
}
