/* evaluate_parts.h - a sample of an evaluation as its files share it. For evaluate*.c alone. */
#ifndef NC_EVAL_EVALUATE_PARTS_H
#define NC_EVAL_EVALUATE_PARTS_H
#include "eval/evaluate.h"
#include "eval/metrics.h"

typedef struct nc_case {
    const char *id;
    const nc_json *messages;         /* up to the answer */
    nc_attachment *media;
    int media_count;
    nc_str answer;                   /* the set's own */
    nc_str *references;
    int reference_count;
    nc_str ceiling;                  /* p NULL: none */
    bool has_slots;
    nc_scene_slots slots;
    nc_str prediction;
    double meteor, rouge_l, cider;
    int right;                       /* slots named rightly */
} nc_case;

typedef struct nc_cases { nc_arena *arena; nc_case *at; int count; } nc_cases;

/* evaluate_read.c */
int nc_cases_read(const nc_evaluate_options *o, nc_cases *out, nc_error *e);     /* out->arena is made by the caller */
/* evaluate_score.c */
void nc_cases_score(nc_cases *c, nc_evaluate_result *out);
/* evaluate_report.c */
int nc_cases_write(const nc_cases *c, const nc_evaluate_options *o, const nc_evaluate_result *r, nc_error *e);
#endif
