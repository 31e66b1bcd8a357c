/* fuzz_decoding.c - any bytes as options of generation: refused, or applied to a row of scores, sampled and processed for beams, without leaving the row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "infer/decoding.h"

enum { VOCABULARY = 24 };
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const int32_t ids[] = { 3, 9, 3, 9, 1, 200, 5 }, source[] = { 9, 1, 7, 9 };
    char *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    nc_arena *a = nc_arena_new();
    nc_json *v;
    nc_error e;
    nc_decoding d;
    nc_decoding_init(&d);
    if (nc_json_parse(a, (nc_str){ exact, n }, "fuzz", &v, &e) == 0 && nc_json_is(v, NC_JSON_OBJECT) && nc_decoding_read(&d, a, v, "fuzz", &e) == 0) {
        nc_job job = { .prompt_count = 3 };
        nc_token t;
        nc_decoding_apply(&d, &job);
        if (nc_sample_check(&job.sample, &e) == 0) {
            job.sample.process = nc_processors_copy(a, job.sample.process);
            nc_sampler *s = nc_sampler_new(&job.sample, nc_kernels_best(), VOCABULARY, ids, 3);
            nc_sampler_knows(s, source, 4, d.max_length);
            for (int k = 0; k < 4; k++) {
                float *row = malloc(sizeof *row * VOCABULARY);
                for (int i = 0; i < VOCABULARY; i++)
                    row[i] = sinf((float)(i * i + k));
                if (nc_sampler_draw(s, row, 3 + k, &t, &e) == 0 && (t.id < 0 || t.id >= VOCABULARY))
                    abort();
                nc_text_state at = { ids, 7, 3, d.max_length, source, 4 };
                nc_process_first(job.sample.process, &at, row, VOCABULARY);
                nc_process_rest(job.sample.process, &at, row, VOCABULARY);
                free(row);
            }
            nc_sampler_free(s);
        }
    }
    nc_arena_free(a);
    free(exact);
    return 0;
}
