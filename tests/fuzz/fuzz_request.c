/* Requests to the OpenAI routes: the first byte chooses the route, the rest is the body. What parses holds to its own bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serve/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *copy = malloc(size - 1 ? size - 1 : 1);
    nc_request r;
    nc_error e = { 0 };
    memcpy(copy, data + 1, size - 1);
    nc_request_limits limits = { .media = 2, .media_bytes = 4096 };
    if (nc_request_parse((nc_str){ copy, size - 1 }, data[0] & 1, &limits, NULL, &r, &e) == 0) {
        if (r.attachment_count > 2 || r.options.choices < 1 || r.options.choices > 8 || (r.chat && !r.messages))
            abort();
        for (int i = 0; i < r.attachment_count; i++)
            if (!r.attachments[i].n || r.attachments[i].n > 4096 + 3)
                abort();
        nc_request_free(&r);
    } else if (!e.code || !e.message[0])
        abort();
    free(copy);
    return 0;
}
