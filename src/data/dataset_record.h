/* dataset_record.h - one record of a dataset file to a sample; between dataset.c and dataset_record.c. */
#ifndef NC_DATA_DATASET_RECORD_H
#define NC_DATA_DATASET_RECORD_H
#include "data/dataset.h"

/* Column and tag names of a dataset_info.json entry. */
typedef struct nc_columns {
    bool sharegpt, sniff, plain;     /* sniff: tell the layout by the record's keys */
    const char *prompt, *query, *response, *history, *system, *messages, *images, *videos, *tools;
    const char *role_tag, *content_tag, *user_tag, *assistant_tag, *observation_tag, *function_tag, *system_tag;
    const char *media_folder;
} nc_columns;

/* entry NULL: the defaults. */
int nc_columns_read(nc_arena *a, const nc_json *entry, const char *name, bool plain, nc_columns *out, nc_error *e);
int nc_record_read(nc_arena *a, const nc_columns *c, const nc_json *record, nc_sample *out, nc_error *e);
#endif
