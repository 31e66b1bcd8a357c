/* Requests to the OpenAI routes: a leading ! makes it a text completion, the rest is the body. What parses holds to its own bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serve/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool chat = !size || data[0] != '!';
    size_t skip = chat ? 0 : 1, n = size - skip;
    char *copy = malloc(n ? n : 1);
    nc_request r;
    nc_error e = { 0 };
    if (n)
        memcpy(copy, data + skip, n);
    nc_request_limits limits = { .media = 2, .media_bytes = 4096 };
    if (nc_request_parse((nc_str){ copy, n }, chat, &limits, NULL, &r, &e) == 0) {
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
