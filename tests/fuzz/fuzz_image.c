/* fuzz_image.c - any bytes as a picture: decode under small limits, scale what came out, encode it again. */
#include "media/image.h"
#include "media/resize.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);          /* an exact block, so that reading past the end shows */
    const nc_image_options options = { .max_pixels = 1 << 18, .max_bytes = 1 << 20, .rgb = n % 2 };
    nc_image im, small;
    nc_buf png = { 0 };

    if (n)
        memcpy(exact, bytes, n);
    if (nc_image_decode(exact, n, &options, &im, NULL) == 0) {
        if (nc_resize(&im, 7, 5, NC_BICUBIC, NULL, NC_RESIZE_PILLOW, &small, NULL) == 0) {
            nc_image_encode_png(&small, &png, NULL);
            nc_image_free(&small);
        }
        nc_image_free(&im);
    }
    nc_buf_free(&png);
    free(exact);
    return 0;
}
