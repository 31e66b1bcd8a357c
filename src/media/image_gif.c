/* image_gif.c - the first frame of a GIF by giflib, through its palette, on the file's canvas. Where the frame does not cover the canvas, the canvas shows the
 * transparent index when there is one, else index 0, as Pillow's convert("RGB") of frame 0 does; transparency itself is dropped. Source: GIF89a.
 */
#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>

#include "media/image_formats.h"

struct source { const uint8_t *p; size_t n; };

static int read_bytes(GifFileType *gif, GifByteType *to, int n)
{
    struct source *s = gif->UserData;
    size_t take = n < 0 ? 0 : (size_t)n < s->n ? (size_t)n : s->n;
    memcpy(to, s->p, take);
    s->p += take;
    s->n -= take;
    return (int)take;
}

static bool match(const uint8_t *p, size_t n)
{
    return n >= 13 && (!memcmp(p, "GIF87a", 6) || !memcmp(p, "GIF89a", 6));
}

static int damaged(nc_error *e, const GifFileType *gif)
{
    const char *why = GifErrorString(gif->Error);
    return nc_fail(e, NC_EFORMAT, "gif: %s", why ? why : "damaged or cut short");
}

/* Passes over extensions to the first picture; *transparent is the graphics control's index, -1 without. */
static int find_frame(GifFileType *gif, int *transparent, nc_error *e)
{
    GifRecordType record;
    *transparent = -1;
    for (;;) {
        if (DGifGetRecordType(gif, &record) == GIF_ERROR)
            return damaged(e, gif);
        if (record == IMAGE_DESC_RECORD_TYPE)
            return DGifGetImageDesc(gif) == GIF_ERROR ? damaged(e, gif) : 0;
        if (record == TERMINATE_RECORD_TYPE)
            return nc_fail(e, NC_EFORMAT, "gif: the file has no picture");
        if (record != EXTENSION_RECORD_TYPE)
            return nc_fail(e, NC_EFORMAT, "gif: a block of an unknown kind");
        int code = 0;
        GifByteType *block = NULL;
        if (DGifGetExtension(gif, &code, &block) == GIF_ERROR)
            return damaged(e, gif);
        if (code == GRAPHICS_EXT_FUNC_CODE && block && block[0] == 4 && block[1] & 1)
            *transparent = block[4];
        while (block)
            if (DGifGetExtensionNext(gif, &block) == GIF_ERROR)
                return damaged(e, gif);
    }
}

static void color_of(const ColorMapObject *map, int index, uint8_t *out)
{
    if (!map)                                                 /* no palette at all: indices are grey */
        memset(out, index, 3);
    else if (index < map->ColorCount)
        out[0] = map->Colors[index].Red, out[1] = map->Colors[index].Green, out[2] = map->Colors[index].Blue;
    else
        memset(out, 0, 3);
}

/* Row of the picture that the k-th row of the stream is: interlaced files send every eighth row, then those between. */
static int row_of(int k, int height, bool interlaced)
{
    static const int first[4] = { 0, 4, 2, 1 }, step[4] = { 8, 8, 4, 2 };
    for (int pass = 0; interlaced && pass < 4; pass++) {
        int rows = height > first[pass] ? (height - first[pass] + step[pass] - 1) / step[pass] : 0;
        if (k < rows)
            return first[pass] + k * step[pass];
        k -= rows;
    }
    return k;
}

static int read_frame(GifFileType *gif, int transparent, nc_image *out, nc_error *e)
{
    const GifImageDesc *d = &gif->Image;
    const ColorMapObject *map = d->ColorMap ? d->ColorMap : gif->SColorMap;
    uint8_t background[3];
    color_of(map, transparent >= 0 ? transparent : 0, background);
    for (size_t i = 0; i < (size_t)out->width * (size_t)out->height; i++)
        memcpy(out->pixels + 3 * i, background, 3);
    GifPixelType *line = nc_xmalloc((size_t)d->Width);
    for (int k = 0; k < d->Height; k++) {
        if (DGifGetLine(gif, line, d->Width) == GIF_ERROR) {
            free(line);
            return damaged(e, gif);
        }
        uint8_t *row = out->pixels + 3 * ((size_t)(d->Top + row_of(k, d->Height, d->Interlace)) * (size_t)out->width + (size_t)d->Left);
        for (int x = 0; x < d->Width; x++)
            color_of(map, line[x], row + 3 * x);
    }
    free(line);
    return 0;
}

static int read_picture(GifFileType *gif, const nc_image_options *o, nc_image *out, nc_error *e)
{
    int transparent;
    NC_TRY(find_frame(gif, &transparent, e));
    const GifImageDesc *d = &gif->Image;
    if (d->Width < 1 || d->Height < 1 || d->Left < 0 || d->Top < 0)
        return nc_fail(e, NC_EFORMAT, "gif: a frame of %d x %d at %d, %d", d->Width, d->Height, d->Left, d->Top);
    /* A frame that leaves the canvas makes it larger. */
    int width = d->Left + d->Width > gif->SWidth ? d->Left + d->Width : gif->SWidth, height = d->Top + d->Height > gif->SHeight ? d->Top + d->Height : gif->SHeight;
    NC_TRY(nc_image_check_size("gif", width, height, o, e));
    NC_TRY(nc_image_new(width, height, 3, out, e));
    int status = read_frame(gif, transparent, out, e);
    if (status < 0)
        nc_image_free(out);
    return status;
}

static int decode(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    struct source s = { p, n };
    int why = 0;
    GifFileType *gif = DGifOpen(&s, read_bytes, &why);

    (void)orientation;
    if (!gif)
        return nc_fail(e, NC_EFORMAT, "gif: %s", GifErrorString(why) ? GifErrorString(why) : "the header is damaged or cut short");
    int status = read_picture(gif, o, out, e);
    DGifCloseFile(gif, &why);
    return status;
}

const nc_image_codec nc_image_codec_gif = { "gif", match, decode };
