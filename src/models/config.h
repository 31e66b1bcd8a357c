/* config.h - reading config.json so that no key is missed: a key nobody asked for and that is not on the shared list of meaningless ones is an error.
 *
 * Mistakes stick; nc_config_finish reports the first. */
#ifndef NC_MODELS_CONFIG_H
#define NC_MODELS_CONFIG_H
#include "base/json.h"

enum { NC_MAX_LAYERS = 4096 };
typedef struct nc_config nc_config;
nc_config *nc_config_new(nc_arena *a, const nc_json *object, const char *where);
int nc_config_finish(nc_config *r, nc_error *e);                                 /* the first mistake, or an unread key */
void nc_config_mistake(nc_config *r, const char *format, ...) NC_PRINTF(2, 3);
/* A mistake that leaves the sizes readable: a setting which the family has otherwise, a class that is not written. */
void nc_config_differs(nc_config *r, const char *format, ...) NC_PRINTF(2, 3);
const nc_json *nc_config_get(nc_config *r, const char *key);                     /* marks it read; NULL when absent or null */
int64_t nc_config_int(nc_config *r, const char *key, int64_t fallback);          /* fallback NC_REQUIRED: must be there; sizes are checked to lie in [0, 2^31) */
int nc_config_layers(nc_config *r, const char *key, int64_t fallback);          /* like int, in [0, NC_MAX_LAYERS], 0 after a mistake: arrays are made of it */
int64_t nc_config_int_any(nc_config *r, const char *key, int64_t fallback);      /* negative numbers too (feature layers) */
int nc_config_side(nc_config *r, const char *key, int fallback);                 /* one number, or a list of equal ones ([14, 14]) */
int nc_config_ints(nc_config *r, const char *key, const int *fallback, int fallback_count, int **out);   /* a list of whole numbers in the arena, each in [0, 2^31); its length */
double nc_config_float(nc_config *r, const char *key, double fallback);
bool nc_config_bool(nc_config *r, const char *key, bool fallback);
const char *nc_config_string(nc_config *r, const char *key, const char *fallback);
void nc_config_expect_bool(nc_config *r, const char *key, bool value);           /* absent or equal, else a mistake */
void nc_config_ignore(nc_config *r, const char *const *keys);                    /* NULL-terminated: meaningless for this family */
nc_config *nc_config_child(nc_config *r, const char *key);                       /* an object below; shares mistakes; NULL when absent */
nc_config *nc_config_over(nc_config *r, const nc_json *object, const char *where);  /* the same over an object that stands elsewhere */
#define NC_REQUIRED INT64_MIN

/* Reading on trial a config that may be another family's: a missing number gets a stand-in (the same quantity under another family's word, else a small one), everything is noted
 * and nothing fails. Names below a child are "text_config.hidden_size". Lists are the arena's and end with NULL. */
typedef struct nc_config_notes {
    const char **missing, **mistakes, **unread;
    int missing_count, mistake_count, unread_count, known;   /* known: keys that were read */
    bool broken;                     /* a mistake that is not nc_config_differs's: sizes cannot be relied on */
} nc_config_notes;
nc_config *nc_config_new_trial(nc_arena *a, const nc_json *object, nc_config_notes *notes);
void nc_config_finish_trial(nc_config *r);                                       /* fills unread and known */

/* Activation functions by Hugging Face's names (gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, relu ...). */
int nc_config_activation(nc_config *r, const char *key, const char *fallback);   /* nc_unary, 0 after a mistake */
#endif
