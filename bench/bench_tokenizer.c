/* bench_tokenizer.c - megabytes a second of one core through encode and decode, and the seconds a tokenizer takes to load.
 *
 *     bench_tokenizer TOKENIZER TEXT [BYTES_OF_A_DOCUMENT]
 *
 * TEXT is cut into documents of about 4096 bytes at line ends; the best of five rounds counts. The first round, with an empty word cache, is printed too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "text/tokenizer.h"

static double encode_all(const nc_tokenizer *t, const nc_buf *text, size_t document, nc_ids *ids)
{
    nc_error e;
    double start = nc_now();
    ids->n = 0;
    for (size_t at = 0; at < text->n;) {
        size_t end = at + document < text->n ? at + document : text->n;
        while (end < text->n && text->p[end - 1] != '\n')
            end++;
        if (nc_tokenizer_encode(t, (nc_str){ text->p + at, end - at }, 0, ids, &e) < 0) {
            fprintf(stderr, "%s\n", e.message);
            exit(1);
        }
        at = end;
    }
    return nc_now() - start;
}

int main(int argc, char **argv)
{
    nc_error e = { 0 };
    nc_tokenizer *t;
    nc_buf text = { 0 }, back = { 0 };
    nc_ids ids = { 0 };
    if (argc < 3) {
        fprintf(stderr, "usage: bench_tokenizer TOKENIZER TEXT [BYTES_OF_A_DOCUMENT]\n");
        return 2;
    }
    double start = nc_now();
    if (nc_tokenizer_load(argv[1], &t, &e) < 0 || nc_file_read(argv[2], (size_t)1 << 30, &text, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    printf("load    %8.3f s, %.1f MB held\n", nc_now() - start, (double)nc_tokenizer_memory(t) / 1e6);
    size_t document = argc > 3 ? strtoull(argv[3], NULL, 10) : 4096;
    double first = encode_all(t, &text, document, &ids), best = first;
    for (int i = 0; i < 4; i++) {
        double s = encode_all(t, &text, document, &ids);
        best = s < best ? s : best;
    }
    printf("encode  %8.2f MB/s, %.2f the first time; %zu ids\n", (double)text.n / best / 1e6, (double)text.n / first / 1e6, ids.n);
    start = nc_now();
    nc_tokenizer_decode(t, ids.p, ids.n, false, &back);
    printf("decode  %8.2f MB/s, %s\n", (double)text.n / (nc_now() - start) / 1e6, back.n == text.n && !memcmp(back.p, text.p, text.n) ? "equal to the text" : "differs from the text (a normalizer changed it)");
    nc_ids_free(&ids);
    nc_buf_free(&text);
    nc_buf_free(&back);
    nc_tokenizer_free(t);
    return 0;
}
