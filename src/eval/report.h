/* report.h - an evaluation as one self-contained HTML file: scores, settings, training curves, and every sample with its frames,
 * prediction and references. No network is touched when it is read; it follows the reader's light or dark theme. */
#ifndef NC_EVAL_REPORT_H
#define NC_EVAL_REPORT_H
#include "base/json.h"
#include "eval/svg.h"

typedef struct nc_report nc_report;

typedef struct nc_frame { const void *bytes; size_t n; const char *mime; } nc_frame;        /* "image/png", "image/jpeg" */
typedef struct nc_score { const char *name; double value; } nc_score;
typedef struct nc_report_row {
    const char *id, *note;                     /* note may be NULL: the question asked, say */
    const nc_frame *frames;
    int frame_count;
    nc_str prediction;
    const nc_str *references;
    int reference_count;
    const nc_score *scores;                    /* the first one sorts and colours the row; 0 to 1 */
    int score_count;
} nc_report_row;

nc_report *nc_report_new(const char *title, const char *subtitle);          /* nc_report_free gives back; texts are copied */
void nc_report_free(nc_report *r);
/* A large figure at the top: "METEOR", "0.612", "NLTK, eojeol, 3 references". NaN values print as a dash. */
void nc_report_score(nc_report *r, const char *name, double value, int decimals, const char *note);
void nc_report_setting(nc_report *r, const char *name, const char *value);  /* a line of the table of settings */
/* A square table of counts, row by row, the diagonal marked. */
void nc_report_matrix(nc_report *r, const char *title, const nc_str *names, int n, const int64_t *counts);
void nc_report_sample(nc_report *r, const nc_report_row *s);
/* Curves of a metrics.jsonl: objects with "step" and numbers. loss and eval_loss share a chart; learning_rate (or lr), grad_norm,
 * tokens_per_second and every other eval_* have their own. Lines that are no objects are skipped; a missing file is NC_ENOTFOUND. */
int nc_report_curves(nc_report *r, const char *metrics_path, nc_error *e);
void nc_report_chart(nc_report *r, const nc_chart *c);
int nc_report_write(const nc_report *r, const char *path, nc_error *e);     /* whole or not at all */
#endif
