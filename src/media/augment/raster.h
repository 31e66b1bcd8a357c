/* raster.h - what the files of augment/ share: the picture on its way through a pipeline, the operation, the reader of its parameters.
 *
 * A picture is Pillow's (bytes, rows of samples) until PILToTensor or ToTensor makes planes of it: torchvision computes the same operation differently on both.
 * Planes hold numbers in float whatever their dtype; those of a uint8 tensor are whole, 0 to 255.
 * An operation is one line in operations.list and one descriptor. Its names and defaults are Pillow's ("ImageOps.pad") or torchvision's ("adjust_hue", "ColorJitter").
 */
#ifndef NC_MEDIA_AUGMENT_RASTER_H
#define NC_MEDIA_AUGMENT_RASTER_H
#include "base/json.h"
#include "base/rng.h"
#include "media/resize.h"

typedef struct nc_planes { int channels, height, width; bool bytes; float *p; } nc_planes;       /* [channels, height, width]; bytes: torch.uint8, else float32 */
typedef struct nc_raster { bool tensor; nc_image image; nc_planes planes; } nc_raster;           /* one of the two is set */
/* count 0: none given; 1: the same for every channel, or, packed, Pillow's integer colour: red + 256 green + 65536 blue. */
typedef struct nc_fill { int count; bool packed; double v[4]; } nc_fill;
uint8_t nc_fill_byte(const nc_fill *f, int channel, int channels);          /* raster.c */

typedef enum nc_padding { NC_PAD_CONSTANT, NC_PAD_EDGE, NC_PAD_REFLECT, NC_PAD_SYMMETRIC } nc_padding;
typedef struct nc_args { const nc_json *map; nc_arena *arena; const char *name; const char *asked[24]; int count, status; nc_error *e; } nc_args;

typedef struct nc_augment_op {
    const char *name;
    size_t size;                     /* of its parameters */
    void (*read)(void *parameters, nc_args *a);
    /* Replaces *x. rng is drawn from only by operations that are random. */
    int (*apply)(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e);
} nc_augment_op;

typedef struct nc_augment_step { const nc_augment_op *op; const void *parameters; double p; } nc_augment_step;

/* args.c. Each notes the key as known, reports the first mistake, and gives the fallback where the key is absent or null. */
double nc_arg_number(nc_args *a, const char *key, double fallback);
double nc_arg_number_in(nc_args *a, const char *key, double fallback, double least, double most);
int nc_arg_int(nc_args *a, const char *key, int fallback, int least, int most);
bool nc_arg_bool(nc_args *a, const char *key, bool fallback);
const char *nc_arg_word(nc_args *a, const char *key, const char *fallback);
int nc_arg_word_of(nc_args *a, const char *key, const char *const *words, int count, int fallback);     /* the index */
bool nc_arg_given(const nc_args *a, const char *key);
/* A list of least to most numbers, or one number where least is 1; returns how many, 0 where absent. */
int nc_arg_numbers(nc_args *a, const char *key, double *out, int least, int most);
nc_fill nc_arg_fill(nc_args *a, const char *key, bool pillow);              /* pillow: one number is packed */
const nc_json *nc_arg_list(nc_args *a, const char *key);                     /* NULL where absent */
void nc_arg_padding(nc_args *a, const char *key, int out[4]);               /* functional.c */
nc_padding nc_arg_padding_mode(nc_args *a);
nc_filter nc_arg_filter(nc_args *a, const char *key, nc_filter fallback);   /* "bilinear", "BILINEAR" or Pillow's number */
void nc_arg_mistake(nc_args *a, const char *format, ...) NC_PRINTF(2, 3);
void nc_arg_need(nc_args *a, const char *key);                              /* a mistake where it is absent */
int nc_augment_steps_read(nc_args *a, const char *key, nc_augment_step **out);   /* pipeline.c: a list of operations; returns how many */
int nc_augment_step_run(const nc_augment_step *s, nc_rng *rng, nc_raster *x, nc_error *e);

/* raster.c */
void nc_raster_take(nc_raster *x, nc_image *im);          /* x becomes the picture; *im is emptied */
void nc_raster_take_planes(nc_raster *x, nc_planes *p);
void nc_raster_free(nc_raster *x);
int nc_planes_new(int channels, int height, int width, bool bytes, nc_planes *out, nc_error *e);
int nc_planes_of_image(const nc_image *im, bool bytes, nc_planes *out, nc_error *e);     /* bytes, or value / 255 */
int nc_image_of_planes(const nc_planes *p, nc_image *out, nc_error *e);                  /* floats: value * 255, cut to a whole number (to_pil_image) */
static inline size_t nc_planes_plane(const nc_planes *p) { return (size_t)p->height * (size_t)p->width; }
static inline size_t nc_planes_count(const nc_planes *p) { return nc_planes_plane(p) * (size_t)p->channels; }
static inline int nc_raster_width(const nc_raster *x) { return x->tensor ? x->planes.width : x->image.width; }
static inline int nc_raster_height(const nc_raster *x) { return x->tensor ? x->planes.height : x->image.height; }
static inline int nc_raster_channels(const nc_raster *x) { return x->tensor ? x->planes.channels : x->image.channels; }

/* Pillow: all give a new picture. pillow_geometry.c */
typedef enum nc_transposition { NC_FLIP_LEFT_RIGHT, NC_FLIP_TOP_BOTTOM, NC_ROTATE_90, NC_ROTATE_180, NC_ROTATE_270, NC_TRANSPOSE, NC_TRANSVERSE } nc_transposition;
typedef enum nc_warp { NC_WARP_AFFINE, NC_WARP_EXTENT, NC_WARP_PERSPECTIVE, NC_WARP_QUAD } nc_warp;
typedef struct nc_rotation { double angle; nc_filter filter; bool expand, centered, translated; double center[2], translate[2]; nc_fill fill; } nc_rotation;
int nc_pillow_transpose(const nc_image *in, nc_transposition how, nc_image *out, nc_error *e);
int nc_pillow_transform(const nc_image *in, int width, int height, nc_warp how, const double *data, nc_filter filter, const nc_fill *fill, nc_image *out, nc_error *e);
int nc_pillow_rotate(const nc_image *in, const nc_rotation *r, nc_image *out, nc_error *e);
/* pillow_color.c */
typedef enum nc_color_mode { NC_MODE_L, NC_MODE_RGB, NC_MODE_HSV, NC_MODE_YCBCR, NC_MODE_CMYK } nc_color_mode;
typedef enum nc_enhancement { NC_ENHANCE_COLOR, NC_ENHANCE_CONTRAST, NC_ENHANCE_BRIGHTNESS, NC_ENHANCE_SHARPNESS } nc_enhancement;
int nc_pillow_convert(const nc_image *in, nc_color_mode to, nc_image *out, nc_error *e);     /* from L, RGB, RGBA */
int nc_pillow_rgb_of_hsv(const nc_image *in, nc_image *out, nc_error *e);
int nc_pillow_blend(const nc_image *a, const nc_image *b, double alpha, nc_image *out, nc_error *e);
int nc_pillow_composite(const nc_image *over, const nc_image *under, const nc_image *mask, nc_image *out, nc_error *e);
int nc_pillow_enhance(const nc_image *in, nc_enhancement what, double factor, nc_image *out, nc_error *e);
/* pillow_tone.c */
int nc_pillow_point(const nc_image *in, const uint8_t *table, bool per_channel, nc_image *out, nc_error *e);     /* [256] or [channels][256] */
int nc_pillow_autocontrast(const nc_image *in, double low, double high, const int *ignore, int ignored, bool preserve_tone, nc_image *out, nc_error *e);
int nc_pillow_equalize(const nc_image *in, nc_image *out, nc_error *e);
int nc_pillow_posterize(const nc_image *in, int bits, nc_image *out, nc_error *e);
int nc_pillow_solarize(const nc_image *in, double threshold, nc_image *out, nc_error *e);
int nc_pillow_invert(const nc_image *in, nc_image *out, nc_error *e);
/* pillow_filter.c */
typedef struct nc_kernel { int side; double scale, offset; double v[25]; } nc_kernel;
int nc_pillow_kernel(const nc_image *in, const nc_kernel *k, nc_image *out, nc_error *e);
const nc_kernel *nc_pillow_kernel_named(const char *name);                   /* "SMOOTH" ...; NULL */
int nc_pillow_rank(const nc_image *in, int size, int rank, nc_image *out, nc_error *e);
int nc_pillow_mode(const nc_image *in, int size, nc_image *out, nc_error *e);
int nc_pillow_box_blur(const nc_image *in, double rx, double ry, nc_image *out, nc_error *e);
int nc_pillow_gaussian_blur(const nc_image *in, double rx, double ry, nc_image *out, nc_error *e);
int nc_pillow_unsharp(const nc_image *in, double radius, int percent, int threshold, nc_image *out, nc_error *e);

/* torchvision's functions, on both kinds. torch_color.c */
int nc_torch_brightness(nc_raster *x, double factor, nc_error *e);
int nc_torch_contrast(nc_raster *x, double factor, nc_error *e);
int nc_torch_saturation(nc_raster *x, double factor, nc_error *e);
int nc_torch_hue(nc_raster *x, double factor, nc_error *e);
int nc_torch_sharpness(nc_raster *x, double factor, nc_error *e);
int nc_torch_grayscale(nc_raster *x, int channels, nc_error *e);
/* torch_tone.c */
int nc_torch_gamma(nc_raster *x, double gamma, double gain, nc_error *e);
int nc_torch_autocontrast(nc_raster *x, nc_error *e);
int nc_torch_equalize(nc_raster *x, nc_error *e);
int nc_torch_invert(nc_raster *x, nc_error *e);
int nc_torch_posterize(nc_raster *x, int bits, nc_error *e);
int nc_torch_solarize(nc_raster *x, double threshold, nc_error *e);
int nc_torch_blur(nc_raster *x, const int kernel[2], const double sigma[2], nc_error *e);
/* torch_frame.c */
int nc_torch_flip(nc_raster *x, bool vertical, nc_error *e);
int nc_torch_crop(nc_raster *x, int top, int left, int height, int width, nc_error *e);
int nc_torch_center_crop(nc_raster *x, int height, int width, nc_error *e);
int nc_torch_pad(nc_raster *x, const int padding[4], const nc_fill *fill, nc_padding mode, nc_error *e);      /* left, top, right, bottom; negative: cropped */
int nc_torch_resize(nc_raster *x, int height, int width, nc_filter filter, bool antialias, nc_error *e);
int nc_torch_erase(nc_raster *x, int top, int left, int height, int width, const float *value, int values, nc_error *e);     /* 1, channels, or channels * height * width */
/* torch_geometry.c */
typedef struct nc_affine { double angle, translate[2], scale, shear[2], center[2]; bool centered; nc_filter filter; nc_fill fill; } nc_affine;
int nc_torch_rotate(nc_raster *x, const nc_rotation *r, nc_error *e);
int nc_torch_affine(nc_raster *x, const nc_affine *a, nc_error *e);
int nc_torch_perspective(nc_raster *x, const double start[8], const double end[8], nc_filter filter, const nc_fill *fill, nc_error *e);
#endif
