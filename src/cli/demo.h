/* demo.h - the parts of `nunchi demo`: verb_demo.c leads through them, demo_steps.c does what needs processes and files, demo_summary.c tells the result. */
#ifndef NC_CLI_DEMO_H
#define NC_CLI_DEMO_H
#include <sys/types.h>

#include "cli/cli.h"
#include "eval/evaluate.h"

typedef struct nc_demo {
    nc_cli *c;
    const char *out, *data, *run, *model, *untrained, *quantized, *recipe;   /* folders; run: of the training */
    int clips;
    int64_t seed;
    nc_evaluate_result trained, before, small;    /* the model, the same without training, quantized */
    double train_seconds, tokens_per_second, data_seconds, seconds;
    int64_t peak_bytes, planned_bytes, model_bytes, small_bytes;
    const char *clip, *sheet;                     /* the held-out clip that was asked about, and its frames */
    const char *served;                           /* the caption that came over HTTP */
    double served_seconds;
    nc_str reference[8];
    int references;
} nc_demo;

int nc_demo_train(nc_demo *d, nc_error *e);       /* `nunchi train` as a process of its own, so that its memory is its own */
int nc_demo_untrained(nc_demo *d, nc_error *e);   /* a folder of the trained model's shape with fresh weights */
int nc_demo_clip(nc_demo *d, nc_error *e);        /* a clip of the test split with its references, and its contact sheet once `served` is there */
int nc_demo_sheet(nc_demo *d, nc_error *e);
int nc_demo_serve(nc_demo *d, nc_error *e);       /* a server over the quantized model, one request, a clean stop */
int nc_demo_summary(const nc_demo *d, nc_error *e);   /* out/summary.json */
void nc_demo_tell(const nc_demo *d, nc_buf *out);
#endif
