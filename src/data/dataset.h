/* dataset.h - training samples from files under LLaMA-Factory's names: dataset_info.json, alpaca and sharegpt layouts, JSON and JSONL, plain text.
 *
 * Every sample becomes messages as front/conversation.h takes them (or a running text), with its media's paths. Samples and strings live in the
 * dataset's arena. Errors name file and line. Source: LLaMA-Factory's data/README.md.
 */
#ifndef NC_DATA_DATASET_H
#define NC_DATA_DATASET_H
#include "base/json.h"

typedef struct nc_sample_media { const char *path; bool is_video; } nc_sample_media;
typedef struct nc_sample {
    const nc_json *messages;         /* NULL: a running text */
    const nc_json *tools;            /* or NULL */
    nc_str text;                     /* of a running text; of a labelled one */
    nc_str pair;                     /* labelled: the second text; p NULL: none */
    const nc_json *words;            /* labelled word by word: a list of strings; NULL: none */
    const nc_json *label;            /* as the record has it: a name, a number, or a list (of words: one for each); NULL: none */
    const nc_sample_media *media;    /* in order of their parts */
    int media_count;
    const char *file;
    int line;                        /* where the sample starts */
} nc_sample;

typedef struct nc_dataset {
    nc_arena *arena;
    nc_sample *samples;
    int count;
    uint64_t hash;                   /* of the files' bytes */
    const nc_json *label_names;      /* labelled: names of the labels 0, 1 ... as dataset_info.json lists them; NULL: it does not */
} nc_dataset;

/* Conversations; running texts; what a classifier learns from: a text or two, words or a picture with its label. */
typedef enum nc_records { NC_RECORDS_CHAT, NC_RECORDS_TEXT, NC_RECORDS_LABELS } nc_records;

typedef struct nc_dataset_options {
    const char *folder;              /* dataset_dir, where dataset_info.json lies; NULL: "data" */
    const char *media_folder;        /* NULL: folder */
    nc_records records;              /* what a record is read as */
    int64_t max_samples;             /* of each dataset; 0: all */
    size_t max_bytes;                /* of one file; 0: 4 GiB */
} nc_dataset_options;

/* names: comma-separated names of dataset_info.json, or paths of .json, .jsonl and .txt files; of pictures with labels also a folder of folders, each with the pictures of the
 * label it is named after, or with a metadata.jsonl (file_name, label). The caller frees. */
int nc_dataset_load(const char *names, const nc_dataset_options *o, nc_dataset **out, nc_error *e);
void nc_dataset_free(nc_dataset *d);             /* NULL is allowed */
/* The assistant's last words, or the running text: what a contrastive pair compares with its picture. */
nc_str nc_sample_answer(const nc_sample *s);
nc_str nc_sample_question(const nc_sample *s);      /* the last text of the user; empty without */
#endif
