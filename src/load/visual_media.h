/* visual_media.h - what front/ made of a picture or video, as models take it. */
#ifndef NC_LOAD_VISUAL_MEDIA_H
#define NC_LOAD_VISUAL_MEDIA_H
#include "front/conversation.h"
#include "nn/batch.h"

/* Without frames: its shape alone, which tells how many rows it will take. */
static inline nc_media nc_media_of(const nc_visual *v)
{
    return (nc_media){ .kind = v->is_video ? NC_MEDIA_VIDEO : NC_MEDIA_IMAGE, .count = v->frames, .frame_height = v->height, .frame_width = v->width, .original_height = v->original_height, .original_width = v->original_width,
                       .grid_height = v->grid_height, .grid_width = v->grid_width, .seconds_per_grid = v->seconds_per_grid, .pictures = v->pictures };
}

/* Frame i of pixels laid out as the visual says. */
static inline nc_pixels nc_pixels_of(const nc_visual *v, const float *pixels, int i)
{
    return (nc_pixels){ .data = pixels + (size_t)i * (size_t)v->channels * (size_t)v->height * (size_t)v->width, v->channels, v->height, v->width };
}
#endif
