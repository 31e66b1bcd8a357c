/* image_operations.c - Pillow's operations by their names: Image, ImageEnhance and ImageFilter. They take a Pillow picture, not a tensor. */
#include <string.h>

#include "media/augment/pillow_operations.h"

#define OPERATION(id, name, type) const nc_augment_op nc_augment_##id = { name, sizeof(type), read_##id, apply_##id }

static void read_Image_rotate(void *parameters, nc_args *a)
{
    nc_rotation *r = parameters;
    nc_arg_need(a, "angle");
    r->angle = nc_arg_number(a, "angle", 0);
    r->filter = nc_arg_filter(a, "resample", NC_NEAREST);
    r->expand = nc_arg_bool(a, "expand", false);
    r->centered = nc_arg_numbers(a, "center", r->center, 2, 2) == 2;
    r->translated = nc_arg_numbers(a, "translate", r->translate, 2, 2) == 2;
    r->fill = nc_arg_fill(a, "fillcolor", true);
}
NC_AUGMENT_APPLY(Image_rotate, nc_rotation, nc_pillow_rotate(in, p, &out, e))
OPERATION(Image_rotate, "Image.rotate", nc_rotation);

struct transform { nc_warp how; int width, height; double data[8]; nc_filter filter; nc_fill fill; };

static void read_Image_transform(void *parameters, nc_args *a)
{
    static const char *const words[] = { "AFFINE", "EXTENT", "PERSPECTIVE", "QUAD" };
    static const int lengths[] = { 6, 4, 8, 8 };
    struct transform *t = parameters;
    double size[2] = { 0 };
    nc_arg_need(a, "method");
    nc_arg_need(a, "data");
    t->how = (nc_warp)nc_arg_word_of(a, "method", words, NC_COUNT(words), 0);
    nc_arg_numbers(a, "data", t->data, lengths[t->how], lengths[t->how]);
    if (nc_arg_numbers(a, "size", size, 2, 2) && !(size[0] >= 1 && size[1] >= 1 && size[0] <= 65536 && size[1] <= 65536))
        nc_arg_mistake(a, "size must be two whole numbers from 1 to 65536");
    t->width = (int)size[0];
    t->height = (int)size[1];
    t->filter = nc_arg_filter(a, "resample", NC_NEAREST);
    t->fill = nc_arg_fill(a, "fillcolor", true);
}
/* size: as the picture where it is not given. */
NC_AUGMENT_APPLY(Image_transform, struct transform,
      nc_pillow_transform(in, p->width ? p->width : in->width, p->height ? p->height : in->height, p->how, p->data, p->filter, &p->fill, &out, e))
OPERATION(Image_transform, "Image.transform", struct transform);

static void read_Image_transpose(void *parameters, nc_args *a)
{
    static const char *const words[] = { "FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "ROTATE_90", "ROTATE_180", "ROTATE_270", "TRANSPOSE", "TRANSVERSE" };
    nc_arg_need(a, "method");
    *(nc_transposition *)parameters = (nc_transposition)nc_arg_word_of(a, "method", words, NC_COUNT(words), 0);
}
NC_AUGMENT_APPLY(Image_transpose, nc_transposition, nc_pillow_transpose(in, *p, &out, e))
OPERATION(Image_transpose, "Image.transpose", nc_transposition);

struct box { double v[4]; };

static void read_Image_crop(void *parameters, nc_args *a)
{
    struct box *b = parameters;
    nc_arg_need(a, "box");
    nc_arg_numbers(a, "box", b->v, 4, 4);
    for (int k = 0; k < 4; k++)
        if (!(b->v[k] >= -65536 && b->v[k] <= 65536))
            nc_arg_mistake(a, "box must lie within -65536 to 65536");
    if (b->v[2] < b->v[0] + 1 || b->v[3] < b->v[1] + 1)
        nc_arg_mistake(a, "box is empty");
}
NC_AUGMENT_APPLY(Image_crop, struct box, nc_crop(in, (int)p->v[0], (int)p->v[1], (int)p->v[2] - (int)p->v[0], (int)p->v[3] - (int)p->v[1], NULL, &out, e))
OPERATION(Image_crop, "Image.crop", struct box);

static void read_Image_convert(void *parameters, nc_args *a)
{
    static const char *const words[] = { "L", "RGB", "HSV", "YCbCr", "CMYK" };
    nc_arg_need(a, "mode");
    *(nc_color_mode *)parameters = (nc_color_mode)nc_arg_word_of(a, "mode", words, NC_COUNT(words), 0);
}
NC_AUGMENT_APPLY(Image_convert, nc_color_mode, nc_pillow_convert(in, *p, &out, e))
OPERATION(Image_convert, "Image.convert", nc_color_mode);

static void read_enhance(void *parameters, nc_args *a)
{
    nc_arg_need(a, "factor");
    *(double *)parameters = nc_arg_number_in(a, "factor", 1, -1e6, 1e6);
}
#define ENHANCE(word, what)                                                                          \
    NC_AUGMENT_APPLY(ImageEnhance_##word, double, nc_pillow_enhance(in, what, *p, &out, e))                     \
    const nc_augment_op nc_augment_ImageEnhance_##word = { "ImageEnhance." #word, sizeof(double), read_enhance, apply_ImageEnhance_##word };
ENHANCE(Color, NC_ENHANCE_COLOR)
ENHANCE(Contrast, NC_ENHANCE_CONTRAST)
ENHANCE(Brightness, NC_ENHANCE_BRIGHTNESS)
ENHANCE(Sharpness, NC_ENHANCE_SHARPNESS)

/* A named kernel, or size, kernel, scale (the sum) and offset. */
static void read_ImageFilter_Kernel(void *parameters, nc_args *a)
{
    nc_kernel *k = parameters;
    double side[2] = { 0 }, sum = 0;
    const char *word = nc_arg_word(a, "filter", NULL);
    if (word) {
        if (!nc_pillow_kernel_named(word))
            nc_arg_mistake(a, "filter: \"%.40s\" is none of BLUR, CONTOUR, DETAIL, EDGE_ENHANCE, EDGE_ENHANCE_MORE, EMBOSS, FIND_EDGES, SHARPEN, SMOOTH, SMOOTH_MORE", word);
        else
            *k = *nc_pillow_kernel_named(word);
        return;
    }
    nc_arg_need(a, "kernel");
    nc_arg_numbers(a, "size", side, 2, 2);
    k->side = side[0] == 3 && side[1] == 3 ? 3 : side[0] == 5 && side[1] == 5 ? 5 : 0;
    if (!k->side) {
        nc_arg_mistake(a, "size must be [3, 3] or [5, 5]");
        return;
    }
    nc_arg_numbers(a, "kernel", k->v, k->side * k->side, k->side * k->side);
    for (int i = 0; i < k->side * k->side; i++)
        sum += k->v[i];
    k->scale = nc_arg_number(a, "scale", sum);
    k->offset = nc_arg_number_in(a, "offset", 0, -1e6, 1e6);
    if (k->scale == 0)
        nc_arg_mistake(a, "scale must not be 0");
}
NC_AUGMENT_APPLY(ImageFilter_Kernel, nc_kernel, nc_pillow_kernel(in, p, &out, e))
OPERATION(ImageFilter_Kernel, "ImageFilter.Kernel", nc_kernel);

struct rank { int size, rank; };

static int read_size(nc_args *a, bool odd)
{
    const int size = nc_arg_int(a, "size", 3, 1, 255);
    if (odd && size % 2 == 0)
        nc_arg_mistake(a, "size must be odd");
    return size;
}

static void read_ImageFilter_RankFilter(void *parameters, nc_args *a)
{
    struct rank *r = parameters;
    nc_arg_need(a, "rank");
    r->size = read_size(a, true);
    r->rank = nc_arg_int(a, "rank", 0, 0, r->size * r->size - 1);
}
NC_AUGMENT_APPLY(ImageFilter_RankFilter, struct rank, nc_pillow_rank(in, p->size, p->rank, &out, e))
OPERATION(ImageFilter_RankFilter, "ImageFilter.RankFilter", struct rank);

#define RANK(word, of)                                                                               \
    static void read_ImageFilter_##word(void *parameters, nc_args *a)                                \
    {                                                                                                \
        struct rank *r = parameters;                                                                 \
        r->size = read_size(a, true);                                                                \
        r->rank = of;                                                                                \
    }                                                                                                \
    NC_AUGMENT_APPLY(ImageFilter_##word, struct rank, nc_pillow_rank(in, p->size, p->rank, &out, e))            \
    OPERATION(ImageFilter_##word, "ImageFilter." #word, struct rank);
RANK(MedianFilter, r->size * r->size / 2)
RANK(MinFilter, 0)
RANK(MaxFilter, r->size * r->size - 1)

static void read_ImageFilter_ModeFilter(void *parameters, nc_args *a) { ((struct rank *)parameters)->size = read_size(a, false); }
NC_AUGMENT_APPLY(ImageFilter_ModeFilter, struct rank, nc_pillow_mode(in, p->size, &out, e))
OPERATION(ImageFilter_ModeFilter, "ImageFilter.ModeFilter", struct rank);

struct radius { double x, y; };

static void read_radius(void *parameters, nc_args *a)
{
    struct radius *r = parameters;
    double v[2] = { 2, 2 };
    const int n = nc_arg_numbers(a, "radius", v, 1, 2);
    r->x = v[0];
    r->y = n == 1 ? v[0] : v[1];
    if (!(r->x >= 0 && r->y >= 0 && r->x < 32768 && r->y < 32768))
        nc_arg_mistake(a, "radius must be at least 0 and below 32768");
}
#define BLUR(word, call)                                                                             \
    NC_AUGMENT_APPLY(ImageFilter_##word, struct radius, call(in, p->x, p->y, &out, e))                          \
    const nc_augment_op nc_augment_ImageFilter_##word = { "ImageFilter." #word, sizeof(struct radius), read_radius, apply_ImageFilter_##word };
BLUR(BoxBlur, nc_pillow_box_blur)
BLUR(GaussianBlur, nc_pillow_gaussian_blur)

struct unsharp { double radius; int percent, threshold; };

static void read_ImageFilter_UnsharpMask(void *parameters, nc_args *a)
{
    *(struct unsharp *)parameters = (struct unsharp){ nc_arg_number_in(a, "radius", 2, 0, 32767), nc_arg_int(a, "percent", 150, -1000000, 1000000),
                                                      nc_arg_int(a, "threshold", 3, -255, 255) };
}
NC_AUGMENT_APPLY(ImageFilter_UnsharpMask, struct unsharp, nc_pillow_unsharp(in, p->radius, p->percent, p->threshold, &out, e))
OPERATION(ImageFilter_UnsharpMask, "ImageFilter.UnsharpMask", struct unsharp);
