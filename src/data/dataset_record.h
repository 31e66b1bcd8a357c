/* dataset_record.h - one record of a dataset file to a sample; between dataset.c and dataset_record.c. */
#ifndef NC_DATA_DATASET_RECORD_H
#define NC_DATA_DATASET_RECORD_H
#include "data/dataset.h"

/* Column and tag names of a dataset_info.json entry. */
typedef struct nc_columns {
    bool sharegpt, sniff;            /* sniff: tell the layout by the record's keys */
    nc_records records;
    const char *prompt, *query, *response, *history, *system, *messages, *images, *videos, *tools;
    const char *role_tag, *content_tag, *user_tag, *assistant_tag, *observation_tag, *function_tag, *system_tag;
    const char *text, *pair, *words, *image, *label;     /* of labelled records; NULL: the first of the usual names that a record has */
    const char *media_folder;
} nc_columns;

/* entry NULL: the defaults. */
int nc_columns_read(nc_arena *a, const nc_json *entry, const char *name, nc_records records, nc_columns *out, nc_error *e);
int nc_record_read(nc_arena *a, const nc_columns *c, const nc_json *record, nc_sample *out, nc_error *e);
/* dataset_labels.c */
void nc_columns_read_labels(nc_arena *a, const nc_json *entry, nc_columns *out);
int nc_record_read_labels(nc_arena *a, const nc_columns *c, const nc_json *record, nc_sample *out, nc_error *e);
/* The pictures of a folder of folders: their paths below it and the label of each; *count 0: it has no such folders. */
typedef struct nc_labelled_file { const char *path, *label; } nc_labelled_file;
int nc_labelled_files(nc_arena *a, const char *folder, nc_labelled_file **out, int *count, nc_error *e);
#endif
