/* evaluate.h - a model over a set of clips or questions: answers, scores, a report.
 *
 * The set is a file as data/dataset.h reads it (LLaVA's and ShareGPT's layouts); references.jsonl beside it gives references, the generator's ceiling caption and slots
 * (data/scenes.h), else each sample's own answer is its one reference. Answers are greedy, many at once through the engine, and do not depend on that.
 * Words are eojeol (split on white space) unless a score's name says syllable. METEOR is NLTK's definition (exact and stem); BLEU-4, CIDEr-D and ROUGE-L are COCO's.
 */
#ifndef NC_EVAL_EVALUATE_H
#define NC_EVAL_EVALUATE_H
#include "data/scenes.h"
#include "infer/session.h"

typedef struct nc_evaluate_options {    /* 0 and NULL: the default */
    const char *folder;                 /* a model, or a run's folder that holds model/ */
    nc_session *session;                /* an open one instead of folder */
    nc_session_options open;            /* how folder is opened */
    const char *data;                   /* test.jsonl */
    const char *references;             /* references.jsonl beside data */
    const char *out;                    /* folder for predictions.jsonl, scores.json and report.html; NULL: no files */
    const char *training_metrics;       /* metrics.jsonl whose curves the report shows */
    int max_samples;                    /* all */
    int max_tokens;                     /* of an answer; 128 */
    int report_samples;                 /* samples with frames in the report; 48 */
    void (*progress)(void *context, int done, int total);
    void *context;
} nc_evaluate_options;

typedef struct nc_evaluate_result {     /* NaN where there is nothing to score against */
    int samples;
    double meteor, bleu4, cider, rouge_l, meteor_syllable, bleu4_syllable;
    double meteor_ceiling;              /* of the ceiling captions */
    double slot_accuracy;               /* mean over samples of slots named rightly / 5 */
    double slot[nc_scene_slot_count];   /* place, time, weather, objects, camera */
    double seconds, tokens_per_second;  /* of the whole run; of new tokens */
    int64_t new_tokens;
} nc_evaluate_result;

int nc_evaluate(const nc_evaluate_options *o, nc_evaluate_result *out, nc_error *e);
void nc_evaluate_table(const nc_evaluate_result *r, nc_buf *out);   /* for people */
nc_json *nc_evaluate_json(nc_arena *a, const nc_evaluate_result *r);
#endif
