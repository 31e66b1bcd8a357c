/* media.h - how media rows reach the text in the families whose placeholders take their medium's rows in order. */
#ifndef NC_MODELS_MEDIA_H
#define NC_MODELS_MEDIA_H
#include "models/model.h"

/* Rows of all media by family->media_rows: checked against those computed earlier, which go to the table "media.features"; else *computed is false and the tower's tables are
 * still to be made. Sets the count "media". A batch that mixes both is refused. */
int nc_media_gather(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, bool *computed, nc_error *e);
/* "text.media" [tokens]: the media row of each placeholder, -1 elsewhere. After nc_prepare_text. */
int nc_media_splice(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
static inline bool nc_is_placeholder(const nc_model *m, int32_t id) { return id >= 0 && (id == m->image_token_id || id == m->video_token_id); }
#endif
