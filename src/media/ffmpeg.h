/* ffmpeg.h - the functions of FFmpeg's libraries that are used, opened at first use. */
#ifndef NC_MEDIA_FFMPEG_H
#define NC_MEDIA_FFMPEG_H
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include "base/library.h"

#define NC_FFMPEG_CALLS(F)                                                                                                                              \
    F(av_find_best_stream) F(av_frame_alloc) F(av_frame_free) F(av_frame_get_buffer) F(av_frame_make_writable) F(av_frame_unref) F(av_freep)            \
    F(av_log_set_level) F(av_malloc) F(av_opt_set) F(av_opt_set_int) F(av_packet_alloc) F(av_packet_free) F(av_packet_rescale_ts) F(av_packet_unref)    \
    F(av_pix_fmt_desc_get) F(av_read_frame) F(av_strdup) F(av_strerror) F(av_version_info) F(av_write_frame) F(av_write_trailer)                        \
    F(avcodec_alloc_context3) F(avcodec_find_encoder_by_name) F(avcodec_free_context) F(avcodec_get_name) F(avcodec_open2)                              \
    F(avcodec_parameters_from_context) F(avcodec_parameters_to_context) F(avcodec_receive_frame) F(avcodec_receive_packet) F(avcodec_send_frame)        \
    F(avcodec_send_packet) F(avformat_alloc_context) F(avformat_alloc_output_context2) F(avformat_close_input) F(avformat_find_stream_info)             \
    F(avformat_free_context) F(avformat_new_stream) F(avformat_open_input) F(avformat_write_header) F(avio_alloc_context) F(avio_context_free)

struct nc_ffmpeg { NC_FFMPEG_CALLS(NC_LIBRARY_CALL) };
extern struct nc_ffmpeg nc_ffmpeg;           /* to be called after nc_ffmpeg_open succeeded */
int nc_ffmpeg_open(nc_error *e);             /* NC_EUNSUPPORTED where it is not installed; it is told to be quiet */
#endif
