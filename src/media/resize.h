/* resize.h - scaling, cropping and padding of pictures, to the byte as Pillow does it.
 *
 * The antialiased filters are two passes of weighted sums; between the passes values are rounded to 8 bits. With in0, in1 the box of the source
 * along an axis, out the new length, s = (in1 - in0) / out, t = max(s, 1) and R the filter's radius times t, output i is the sum over
 * source x with |x + 0.5 - c| < R, c = in0 + (i + 0.5) s, of f((x + 0.5 - c) / t), divided by the sum of the weights.
 * Pillow: weights are rounded to 22 fractional bits; horizontal pass first, except where the height shrinks by more than twice what the width does.
 * torchvision: weights are 16-bit integers with as many fractional bits as fit; horizontal pass first always.
 * Source: Pillow 13's Resample.c (behaviour); torchvision's antialias=True on uint8 tensors.
 */
#ifndef NC_MEDIA_RESIZE_H
#define NC_MEDIA_RESIZE_H
#include "media/image.h"

/* The numbers are Pillow's, as in `resample` of preprocessor_config.json. */
typedef enum nc_filter { NC_NEAREST = 0, NC_LANCZOS = 1, NC_BILINEAR = 2, NC_BICUBIC = 3, NC_BOX = 4, NC_HAMMING = 5 } nc_filter;
typedef enum nc_resize_rule { NC_RESIZE_PILLOW, NC_RESIZE_TORCHVISION } nc_resize_rule;

typedef struct nc_box { double left, top, right, bottom; } nc_box;

/* in may be any channel count; alpha (2 and 4 channels) is premultiplied for the sums, as Pillow does. box NULL: the whole picture.
 * *out is new. Errors: NC_EINVAL (empty size, box outside), NC_ELIMIT. */
int nc_resize(const nc_image *in, int width, int height, nc_filter filter, const nc_box *box, nc_resize_rule rule, nc_image *out, nc_error *e);
/* Pillow's resize of the whole picture with reducing_gap: where it shrinks by more than twice the gap, blocks are averaged first. */
int nc_resize_gap(const nc_image *in, int width, int height, nc_filter filter, double gap, nc_image *out, nc_error *e);
/* One plane of floats [height, width]; out holds new_height * new_width. Pillow's mode F: weights and sums in double, rounded to float between the
 * passes. torchvision (torch's interpolate with antialias): all in float, horizontal first. */
int nc_resize_f32(const float *in, int width, int height, float *out, int new_width, int new_height, nc_filter filter, nc_resize_rule rule, nc_error *e);
/* torch's cubic of parameter a at distance x, in fused steps of float. */
float nc_torch_cubic(float x, float a);
/* Pillow's Image.thumbnail((width, height)): shrunk inside that box with the sides' ratio kept, bicubic with a gap of 2; never enlarged. */
int nc_thumbnail(const nc_image *in, int width, int height, nc_image *out, nc_error *e);
/* torch.nn.functional.interpolate of one plane without antialias (interpolate.c). */
typedef enum nc_interpolation { NC_INTERPOLATE_NEAREST, NC_INTERPOLATE_NEAREST_EXACT, NC_INTERPOLATE_BILINEAR, NC_INTERPOLATE_BICUBIC } nc_interpolation;
int nc_interpolate_f32(const float *in, int width, int height, float *out, int new_width, int new_height, nc_interpolation kind, nc_error *e);
/* Pillow's Image.reduce((fx, fy)): means of blocks. */
int nc_reduce(const nc_image *in, int fx, int fy, nc_image *out, nc_error *e);
/* The part at (left, top); what lies outside the picture is filled with `fill` (channels bytes, NULL: zeros). Also pads. */
int nc_crop(const nc_image *in, int left, int top, int width, int height, const uint8_t *fill, nc_image *out, nc_error *e);
bool nc_filter_by_name(const char *name, nc_filter *out);       /* "bicubic" ... */
#endif
