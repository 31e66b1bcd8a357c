/* video.h - frames of a video file, chosen by a rule, and H.264 in mp4 from frames.
 *
 * Reading: FFmpeg demuxes and decodes from memory only (no file a stream names is ever opened). RGB is made by an integer formula:
 *   y = ((8 Y - yo) yc) >> 16,  R = y + ((8 (V - 128) vr) >> 16),  G = y + ((8 (U - 128) ug) >> 16) + ((8 (V - 128) vg) >> 16),
 *   B = y + ((8 (U - 128) ub) >> 16), clipped, chroma repeated; BT.709 where the stream says so, else BT.601; full range for yuvj and
 *   streams marked so. Decoding uses one thread, so that damaged streams too give the same frames every time.
 * Source: what FFmpeg's default conversion computes for these formats (ITU-R BT.601 and BT.709 for the constants).
 */
#ifndef NC_MEDIA_VIDEO_H
#define NC_MEDIA_VIDEO_H
#include "media/image.h"

typedef struct nc_video_options {    /* 0: the default */
    size_t max_bytes;                /* 1 GiB */
    int64_t max_pixels;              /* of a frame; 33177600 (7680 x 4320) */
    int max_frames;                  /* of the whole file; 100000 */
    int max_taken;                   /* frames given out by one call; 1024 */
    double max_seconds;              /* 4 h */
} nc_video_options;

typedef struct nc_video nc_video;
/* Both read the packets' timestamps at once, no frame is decoded. bytes must outlive the video. */
int nc_video_open(const char *path, const nc_video_options *options, nc_video **out, nc_error *e);
int nc_video_open_memory(const void *bytes, size_t n, const nc_video_options *options, nc_video **out, nc_error *e);
void nc_video_free(nc_video *v);     /* NULL is allowed */
bool nc_video_match(const void *bytes, size_t n);    /* looks like mp4/mov, matroska/webm, avi */

typedef struct nc_video_info {
    int width, height, frames;       /* frames: video packets found; decoding may give a few less in a damaged file */
    double fps;                      /* average rate the file states; 0 when it does not */
    double duration;                 /* seconds from the first frame to the last */
    const char *codec;               /* "h264"; static */
    int color[6];                    /* yc, vr, ub, ug, vg, yo of the formula */
} nc_video_info;
void nc_video_describe(const nc_video *v, nc_video_info *out);

/* How frame indices are chosen from n frames. */
typedef enum nc_sampling {
    NC_SAMPLE_DEFAULT,         /* floor(i n / k): transformers' default */
    NC_SAMPLE_LINSPACE,        /* trunc(i (n - 1) / (k - 1)): first and last frame included */
    NC_SAMPLE_ARANGE,          /* trunc(i (n / k)) */
    NC_SAMPLE_SEGMENT_MIDDLE,  /* trunc(n / (2 k) + i n / k) */
    NC_SAMPLE_TIME,            /* the frame shown at the middle of each of k equal spans of time */
} nc_sampling;
/* Fills index[k]; k >= 1, n >= 1. NC_SAMPLE_TIME takes times[n], ascending; the others ignore it. NC_EINVAL when k > n (repeats would be needed)
 * except for TIME and LINSPACE, which repeat frames. */
int nc_sample_frames(nc_sampling rule, int n, int k, const double *times, int *index, nc_error *e);
/* default_fps: k = max(1, trunc(n / fps * rate)), capped at n. */
int nc_sample_count(int n, double fps, double rate);
/* Qwen2-VL: count clamped to [min_frames, max_frames], floored to a multiple of 2, then arange(0, n, n / count) in float32. By rate when count is 0,
 * else by count rounded half to even to a multiple of 2. index holds n entries at least; returns how many were filled, or a negative status. */
int nc_sample_qwen2vl(int n, double fps, double rate, int count, int min_frames, int max_frames, int *index, nc_error *e);

/* Decodes once and converts the frames of ascending indices (repeats allowed). frames[count] are the caller's to free; times may be NULL, seconds. */
int nc_video_read(nc_video *v, const int *index, int count, nc_image *frames, double *times, nc_error *e);
/* Reads the frames that choose names of n: it fills index (the caller's room) and returns how many. Frames that packets promised but decoding did not give are left out of n and
 * the choice made again; *of is the n that held. frames has the room index has. ready (may be NULL) sees each frame as soon as it is decoded, and may put another in its place. */
typedef int nc_choose_fn(void *context, int n, const double *times, int *index, nc_error *e);
typedef int nc_ready_fn(void *context, nc_image *frame, nc_error *e);
int nc_video_take(nc_video *v, nc_choose_fn *choose, nc_ready_fn *ready, void *context, nc_image *frames, int *index, int *taken, int *of, nc_error *e);
/* Chooses and reads k frames (fewer when the video is shorter and the rule does not repeat); *taken is how many. Frames that packets promised
 * but decoding did not give are left out of the count and the choice made again. */
int nc_video_sample(nc_video *v, nc_sampling rule, int k, nc_image *frames, double *times, int *taken, nc_error *e);
/* The file's times by packets, ascending, frames of them. */
const double *nc_video_times(const nc_video *v);

/* Every decoded frame in turn, planes as the decoder gives them; stop by a return other than 0, which becomes the call's result. */
typedef struct nc_video_planes { int index, width, height; double time; const uint8_t *plane[3]; int stride[3], plane_width[3], plane_height[3]; } nc_video_planes;
typedef int nc_video_fn(void *context, const nc_video_planes *planes, const nc_image *rgb, nc_error *e);
int nc_video_each(nc_video *v, nc_video_fn *fn, void *context, nc_error *e);

/* H.264 (libx264, constant quantizer, one thread, CPU-independent decisions) in mp4, BT.601 limited range, 4:2:0; the same frames
 * give the same file. Frames are RGB of one size, even sides. */
int nc_video_encode(const nc_image *frames, int count, int fps, nc_buf *out, nc_error *e);
int nc_video_write(const char *path, const nc_image *frames, int count, int fps, nc_error *e);   /* atomically */
#endif
