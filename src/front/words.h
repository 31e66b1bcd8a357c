/* words.h - what a checkpoint's processor class writes into the text where a medium stands: the placeholder alone, or time stamps, marks of tiles and frames around it.
 *
 * A class that writes more than its placeholder is one file words_<name>.c and one line in words.list. Inside src/front.
 */
#ifndef NC_FRONT_WORDS_H
#define NC_FRONT_WORDS_H
#include "front/conversation.h"

/* A text in the making: every placeholder in it stands for a run of feature rows. */
typedef struct nc_words { nc_buf text; int *run; int runs, capacity; const char *spelling[2]; } nc_words;   /* spelling: of the image and the video placeholder */
void nc_words_run(nc_words *w, bool is_video, int rows);         /* writes a placeholder that stands for so many rows */

typedef struct nc_wording {
    const char *processor;                     /* "InternVLProcessor" */
    void (*write)(nc_words *w, const nc_visual *v, int rows);      /* NULL: the placeholder alone */
    const char *template_name;                 /* of folders without a chat template; NULL: the usual one */
    const char *end, *template_without;        /* the token that ends a turn, whatever the folder says of its end token, and the template of a tokenizer that does not know it; NULL: none */
    int (*source)(const nc_tokenizer *t, nc_str text, nc_buf *out, nc_error *e);   /* what an encoder reads for a request's text, special tokens spelled out; NULL: the text itself */
    const char *const *tasks;                  /* [NC_TASKS] words of tasks; NULL: none */
} nc_wording;
const nc_wording *nc_wording_find(const char *processor);        /* NULL: the placeholder alone */

#define NC_WORDING(name) extern const nc_wording nc_wording_##name;
#include "front/words.list"
#undef NC_WORDING

/* The rendered text with its placeholders, in order, replaced by the words of the media; spans move along. Fails when there are more or fewer. */
int nc_words_write(const nc_wording *x, nc_str text, const nc_visual *const *media, const int *rows, int count, nc_template_spans *spans, nc_words *out, nc_error *e);
#endif
