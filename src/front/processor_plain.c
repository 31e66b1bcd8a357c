/* processor_plain.c - processors that make one picture of fixed size of each picture: CLIP, SigLIP, ViT, DeiT, BEiT, BLIP, MobileNetV2, SegFormer, BiT (DINOv2), LLaVA, and the
 * frames of LLaVA-NeXT-Video, Video-LLaVA, LLaVA-OneVision and InternVL.
 *
 *   [LLaVA with do_pad: a square of the longer side, the mean colour around]  ->  resize  ->  centre crop  ->  rescale  ->  normalize
 */
#include "front/processor_family.h"
#include "media/video.h"
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    /* name                          shortest height width crop filter        colours            crops  rgb   pads   video */
    { "CLIPImageProcessor",          224, 0, 0, 224, NC_BICUBIC,  NC_COLORS_CLIP, true, true, false, false },
    { "SiglipImageProcessor",        0, 224, 224, 0, NC_BICUBIC,  NC_COLORS_HALF, false, true, false, false },
    { "ViTImageProcessor",           0, 224, 224, 0, NC_BILINEAR, NC_COLORS_HALF, false, true, false, false },
    { "DeiTImageProcessor",          0, 256, 256, 224, NC_BICUBIC, NC_COLORS_HALF, true, true, false, false },
    { "BeitImageProcessor",          0, 256, 256, 224, NC_BICUBIC, NC_COLORS_HALF, true, true, false, false },
    { "MobileNetV2ImageProcessor",   256, 0, 0, 224, NC_BILINEAR, NC_COLORS_HALF, true, true, false, false },
    { "SegformerImageProcessor",     0, 512, 512, 0, NC_BILINEAR, NC_COLORS_IMAGENET, false, true, false, false },
    { "BlipImageProcessor",          0, 384, 384, 0, NC_BICUBIC,  NC_COLORS_CLIP, false, true, false, false },
    { "BitImageProcessor",           224, 0, 0, 224, NC_BICUBIC,  NC_COLORS_CLIP, true, true, false, false },
    { "LlavaImageProcessor",         224, 0, 0, 224, NC_BICUBIC,  NC_COLORS_CLIP, true, true, false, false },
    { "VideoLlavaImageProcessor",    224, 0, 0, 224, NC_BICUBIC,  NC_COLORS_CLIP, true, true, false, false },
    { "LlavaNextVideoImageProcessor", 224, 0, 0, 224, NC_BICUBIC, NC_COLORS_CLIP, true, true, false, false },
    { "LlavaNextVideoVideoProcessor", 224, 0, 0, 224, NC_BICUBIC, NC_COLORS_CLIP, true, true, false, true },
    { "VideoLlavaVideoProcessor",    224, 0, 0, 224, NC_BICUBIC,  NC_COLORS_CLIP, true, true, false, true },
    { "LlavaOnevisionVideoProcessor", 0, 384, 384, 0, NC_BICUBIC, NC_COLORS_CLIP, false, true, false, true },
    { "InternVLVideoProcessor",      0, 384, 384, 0, NC_BICUBIC,  NC_COLORS_CLIP, false, true, false, true },
    { 0 },
};

/* The colour is the mean in bytes, truncated. */
static int pad_square(const nc_processor *p, nc_image *im, nc_error *e)
{
    const int side = im->width > im->height ? im->width : im->height;
    uint8_t fill[3];
    nc_image square;

    for (int i = 0; i < 3; i++) {
        const int v = (int)(p->mean[i] * 255);
        fill[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    NC_TRY(nc_crop(im, -((side - im->width) / 2), -((side - im->height) / 2), side, side, fill, &square, e));
    nc_step_replace(im, &square);
    return 0;
}

static int each(const nc_processor *p, nc_arena *a, const nc_image *images, int count, const char *name, int rank, const int64_t *leading,
                nc_features *out, nc_error *e)
{
    nc_image *work = nc_xcalloc((size_t)count, sizeof *work);
    int code = 0;
    for (int i = 0; i < count && code == 0; i++) {
        code = nc_image_copy(&images[i], &work[i], e);
        if (code == 0 && p->do_pad)
            code = pad_square(p, &work[i], e);
        if (code == 0)
            code = nc_step_size(p, &work[i], e);
    }
    if (code == 0)
        code = nc_emit_pictures(p, a, work, count, name, rank, leading, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&work[i]);
    free(work);
    return code;
}

/* InternVL's initial_shift: the middle of each of so many equal stretches. */
static int sample_middle(const nc_processor *p, int n, double fps, int want, int *index, nc_error *e)
{
    enum { usual = 8 };
    int k = want ? want : usual;
    (void)p;
    (void)fps;
    k = k < n ? k : n;
    NC_TRY(nc_sample_frames(NC_SAMPLE_SEGMENT_MIDDLE, n, k, NULL, index, e));
    return k;
}

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    (void)file;
    (void)e;
    if (!strcmp(p->row->name, "InternVLVideoProcessor") && nc_json_bool(nc_json_get(config, "initial_shift"), true))
        p->sample = sample_middle;
    return 0;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    return each(p, a, images, count, "pixel_values", 1, (int64_t[]){ count }, out, e);
}

static int run_video(const nc_processor *p, nc_arena *a, const nc_image *frames, int count, nc_features *out, nc_error *e)
{
    return each(p, a, frames, count, "pixel_values_videos", 2, (int64_t[]){ 1, count }, out, e);
}

const nc_processor_family nc_processor_plain = { classes, "do_reduce_labels reduce_labels", parse, run_images, run_video, false };
