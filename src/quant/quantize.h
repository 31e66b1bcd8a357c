/* quantize.h - a model folder in fewer bits: config, tokenizer and processor files as they were, and the GGUF files of load/gguf_names.h.
 *
 * Products' weights take the asked type where their rows are whole blocks (else BF16); tables take BF16 (F16 for F16); norms, biases, routers, positions and convolutions stay
 * F32. Names, metadata and orders are llama.cpp's (load/gguf_arch.h), so that its tools read the files; keys it has no word for are nunchi.*. The block formats
 * are formats/ggml_blocks.h's, bit-equal to ggml's reference quantizers.
 */
#ifndef NC_QUANT_QUANTIZE_H
#define NC_QUANT_QUANTIZE_H
#include "load/load.h"

typedef void nc_quantize_progress(void *context, const char *file, int tensor, int tensors);

typedef struct nc_quantize_options {
    nc_dtype to;                     /* NC_Q8_0, NC_Q4_0, NC_BF16, NC_F16, NC_F32 */
    nc_pool *pool;                   /* may be NULL */
    nc_quantize_progress *progress;  /* may be NULL */
    void *context;
} nc_quantize_options;

typedef struct nc_quantize_report {
    uint64_t values, quantized;      /* parameters; those in the asked type */
    uint64_t bytes_before, bytes_after;
    double error;                    /* root of the mean square of (value - stored value) over that of the values, products' weights only */
} nc_quantize_report;

/* out is made, or holds what an earlier call left; its config.json comes last, so that a folder that was cut short is no model. report may be NULL. */
int nc_quantize(const char *folder, const char *out, const nc_quantize_options *o, nc_quantize_report *report, nc_error *e);
#endif
