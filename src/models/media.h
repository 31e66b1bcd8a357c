/* media.h - how media rows reach the text in the families whose placeholders take their medium's rows in order. */
#ifndef NC_MODELS_MEDIA_H
#define NC_MODELS_MEDIA_H
#include "models/model.h"

/* The tower's rows of all media (feature_rows, else media_rows): checked against those computed earlier, which go to the table "media.features"; else *computed is false and the tower's tables are
 * still to be made. Sets the count "media". A batch that mixes both is refused. */
int nc_media_gather(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, bool *computed, nc_error *e);
/* "text.media" [tokens], of models with an encoder "source.media" [source]: the media row of each placeholder, -1 elsewhere. After nc_prepare_text. Placeholders beyond the media's rows are tokens like any other: whoever makes a
 * prompt checks that they match, and a text that was written by a model may hold one. */
void nc_media_splice(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count);
static inline bool nc_is_placeholder(const nc_model *m, int32_t id) { return id >= 0 && (id == m->image_token_id || id == m->video_token_id); }

/* Models made of a tower under "vision_tower." and a decoder under "language_model.", each a family of its own. First in the family's struct. */
typedef struct nc_vision_text { nc_model *vision, *text; nc_vision_info info; } nc_vision_text;
/* vision_config and text_config; a decoder is tied where its own config says so, else where the whole's does (tied: what that is where it says nothing). False after a mistake. */
bool nc_vision_text_config(nc_model *m, nc_vision_text *c, nc_config *r, bool tied);
bool nc_vision_text_config_at(nc_model *m, nc_vision_text *c, nc_config *r, bool tied, const char *vision, const char *text);   /* under other prefixes */
nc_value *nc_vision_text_encoder(const nc_model *m, const void *self, nc_build *b, nc_value *media);       /* where the text has an encoder, in which the media stand */
void nc_vision_text_cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows);
nc_value *nc_vision_text_decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media);
void nc_vision_text_head(const void *self, nc_head *out);
void nc_vision_text_cache(const void *self, nc_cache_need *out);
int nc_vision_text_regime(const void *self, int length);
/* "media.from" [media, k * k]: the tower rows of each k x k block of patches, row by row, of count pictures of side x side patches that `before` other rows stand before. */
void nc_media_blocks(nc_batch *batch, int count, int side, int k, int before);
/* Makes the tower's tables of a step whose pictures are still to be seen. */
typedef int nc_tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e);
/* The pictures and frames of a step, each of the tower's own size, handed to `tower`. */
int nc_media_see(const nc_vision_info *info, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_tower_tables *tower, nc_error *e);
/* The decoder's tables, then the media's: rows computed earlier and splices. */
int nc_vision_text_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_tower_tables *tower, nc_error *e);
#endif
