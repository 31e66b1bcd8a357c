/* model.h - a model family: config, weights, prepare, stages and head; and an instance of one.
 *
 * A family is one file here and one line in models.list. Stages take rows and return hidden rows; no stage applies the head.
 */
#ifndef NC_MODELS_MODEL_H
#define NC_MODELS_MODEL_H
#include "models/config.h"
#include "nn/build.h"
#include "nn/loss.h"

typedef struct nc_model nc_model;
typedef struct nc_family nc_family;

/* logits = scale * (h w^T + bias), capped; `more` holds the last rows of the vocabulary where they are a weight of their own (Idefics), NULL: none. */
typedef struct nc_head { nc_site *w, *bias, *more; double scale, soft_cap; } nc_head;

/* What the decoder's layers need of a cache: pages of keys and values for so many attention layers (0: none), floats of recurrent state for a sequence (nn/recurrent.h),
 * width of an attention layer's index keys (0: none; nc_index_keys). */
typedef struct nc_cache_need { int layers, kv_heads, key_dim, value_dim; int64_t state; int index_dim; } nc_cache_need;

/* What a tower says of itself: pictures are size x size, cut into patches; class_rows rows, which have positions, and then register_rows, which have none, stand before
 * the patches of each. */
typedef enum nc_position_filter { NC_POSITION_CUBIC, NC_POSITION_CUBIC_ANTIALIAS, NC_POSITION_LINEAR_ANTIALIAS } nc_position_filter;
typedef struct nc_vision_info {
    int image_size, patch_size, channels, class_rows, layers, hidden_size, register_rows;
    nc_position_filter position_filter;      /* how the table of positions is resized for other grids */
    bool channels_last;                      /* a patch is [patch, patch, channels], else [channels, patch, patch] */
} nc_vision_info;

/* What an encoder makes of a step's pictures or texts: rows after its closing norm (conv nets: maps [n,C,H,W]), and for each picture or text one vector and, where its
 * class has such a head, the logits of its labels. NULL: has none. */
typedef struct nc_encoded { nc_value *rows, *pooled, *logits; } nc_encoded;
typedef enum nc_modality { NC_PICTURES, NC_TEXTS } nc_modality;

/* A tensor that holds the weights of many sites (transformers 5's experts). file and canonical share one '*' that stands for the same text; '#' in canonical is the index
 * on the file's first axis; of its second axis the site has the rows of part `part` of `parts`. */
typedef struct nc_stack { const char *file, *canonical; int part, parts; } nc_stack;

struct nc_family {
    const char *name;                        /* Hugging Face model_type */
    const char *architectures;               /* space-separated classes it answers for; the first is what a new folder says */
    size_t size;                             /* bytes of its own struct */
    /* Where folders of one model_type differ in what they are made of (a decoder alone, an encoder and a decoder): the family of this config, which is this one or one in its file that
     * is in no list. NULL: this one. */
    const nc_family *(*variant)(const nc_json *config);
    void (*config)(nc_model *m, void *self, nc_config *r);   /* reads every key; mistakes stick to r */
    void (*weights)(nc_model *m, void *self);                /* lists sites by nc_weight */
    /* Prefixes of the sites that are the tower's and the projector's; the rest is the language's. NULL-terminated; NULL: vision_tower., vision_model.; multi_modal_projector.,
     * image_newline. */
    const char *const *tower_parts, *const *projector_parts;
    const char *const *ignored;              /* glob patterns of tensors that carry nothing (masks, inv_freq); NULL-terminated; may be NULL */
    const char *const *renames;              /* pairs file's, canonical: prefixes, or patterns with one '*' ("*LayerNorm.gamma"); tried in order; NULL-terminated; may be NULL */
    const char *const *turned;               /* tensors of files that hold a product's weight the other way around than its site does; NULL-terminated; may be NULL */
    const nc_stack *stacks;                  /* where one tensor of a file may hold many sites; ends with file NULL; may be NULL */
    /* Fills the batch from sequences: ids, positions, spans, index tables, patches. */
    int (*prepare)(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
    /* Pictures to rows of the decoder's width (after the projector); NULL: no media. Reads tables that prepare made. */
    nc_value *(*tower)(const nc_model *m, const void *self, nc_build *b);
    /* Tokens (and media rows, or NULL) to hidden rows after the final norm, [tokens, hidden]. */
    nc_value *(*decoder)(const nc_model *m, const void *self, nc_build *b, nc_value *media);
    /* Positions of a whole sequence from its ids and media, where they are not its indices (M-RoPE). out->table is the caller's to free. NULL: they are the indices. */
    int (*positions)(const nc_model *m, const void *self, const int32_t *ids, int count, const nc_media *media, int media_count, nc_positions *out, nc_error *e);
    /* Encoder-decoder models: what the encoder reads to its rows, which the decoder then takes as `media`; NULL there: keys and values of the rows lie in the cache already
     * (nc_attend_cross). It reads text (nc_seq.source), or pictures (encoder_rows is there), or text among which the rows of a tower stand (tower and media_rows are there):
     * then media are those rows, or NULL. NULL: no encoder. */
    nc_value *(*encoder)(const nc_model *m, const void *self, nc_build *b, nc_value *media);
    /* Writes the keys and values that every cross attention of the decoder makes of the encoder's rows, or of the media's (views), into the cache (nc_keep_cross). */
    void (*cross)(const nc_model *m, const void *self, nc_build *b, nc_value *rows);
    /* Decoders whose blocks attend to their media instead of splicing them: what the rows of a whole text see of them (nc_views_free). They have a tower and `cross`; with a cache their
     * media come as NULL. NULL: media are spliced. */
    int (*views)(const nc_model *m, const void *self, const int32_t *ids, int count, const nc_media *media, int media_count, nc_views *out, nc_error *e);
    const char *placeholder;                 /* spelling of the token that stands for a picture, where config.json has no image_token_id; NULL: it has one */
    /* Rows of the encoder for one sequence, before anything runs; NULL: one for each token of its source. */
    int (*encoder_rows)(const nc_model *m, const void *self, const nc_seq *s);
    /* Feature rows the media will take in the text, before anything runs. */
    int (*media_rows)(const nc_model *m, const void *self, const nc_media *media);
    /* Rows the tower makes of media, frame by frame, where the text takes others (mixed, left out, newlines between). NULL: media_rows. */
    int (*feature_rows)(const void *self, const nc_media *media);
    void (*head)(const void *self, nc_head *out);
    void (*cache)(const void *self, nc_cache_need *out);
    /* Where cached keys hold for some lengths of a sequence only (LongRoPE): which regime a length is in. A sequence that passes into another regime is run again from
     * its start. NULL: always the same. */
    int (*regime)(const void *self, int length);
    /* Vision towers: hidden rows after block `layer` (0: the embedding, -1: the last), picture after picture, class rows included. Probes are
     * named prefix.0, prefix.1 ... Reads the tables nc_prepare_pictures made. */
    nc_value *(*vision)(const nc_model *m, const void *self, nc_build *b, int layer, const char *probe_prefix);
    void (*vision_info)(const void *self, struct nc_vision_info *out);
    /* Models that are no decoder (CLIP, SigLIP): builds everything, probes its outputs under the reference's names ("out.image_embeds") and returns the loss it is
     * trained with. The count "pictures" is fixed. */
    nc_value *(*outputs)(const nc_model *m, const void *self, nc_build *b);
    /* Encoders (ViT, BERT, conv nets, each side of a pair): the mathematics up to what nc_encoded holds, probed under the reference's names. Loss: nc_model_loss. */
    void (*encode)(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out);
    bool one_size;                           /* the tower's graph is made for pictures of one size (nn/grid.h): nc_program_options.picture_height, picture_width */
    bool whole_prompt;                       /* the rows of a prompt see each other both ways: it is never cut into stretches */
    bool reads_text;                         /* encode takes texts; else pictures, or both when outputs is there too */
    /* Capacities of the counts beyond "tokens" and "scored", for a step of at most so many pictures (patches where pictures come as patches: nc_media_units). NULL: none. */
    void (*capacity)(const void *self, nc_build *b, int64_t pictures);
};

struct nc_model {
    const nc_family *family;
    void *self;
    nc_arena *arena;
    nc_site **sites;
    int site_count;
    const nc_json *config;                   /* the tree as read, the arena's */
    const char *prefix;                      /* of all its sites' names: "language_model." for a part, "" else */
    const char *scope;                       /* below the prefix, while weights are listed */
    void (*release)(nc_model *m, void *context);   /* gives the weights' memory back (load/ sets it) */
    void *release_context;
    nc_model *parent;                        /* the model this is a part of; its sites are listed there too */
    int hidden_size, vocab_size, max_positions;   /* set by config() of decoders */
    int image_token_id, video_token_id;      /* -1 without */
    bool pads_text;                          /* texts are filled up to max_positions with the padding token, which is attended (SigLIP) */
    bool lowers_text;                        /* texts are lower-cased before the tokenizer (SigLIP 2) */
    int text_types;                          /* of encoders: how many texts of a pair it tells apart; 0, 1: none */
    nc_labels labels;                        /* of classifiers; set by nc_config_labels */
    int media_width;                         /* of the tower's rows; 0: hidden_size */
    int max_source;                          /* of an encoder that reads text: its positions; 0: no bound */
    const char *const *kept;                 /* glob patterns of tensors that belong to the checkpoint but not to this model (heads for further tokens): they are silent and
                                              * saved as they came. NULL-terminated; NULL: none. Set by config(). */
    const char *source;                      /* the folder its weights came from; NULL: none */
};

/* An instance from a config tree: the family by model_type; sites listed, no memory for weights yet. */
int nc_model_new(const nc_json *config, nc_model **out, nc_error *e);
/* The config read as if it were of family f, whatever its model_type (config.h, on trial). sites: lists them, too, unless the notes are broken. Never NULL; no memory for weights. */
nc_model *nc_model_trial(const nc_json *config, const nc_family *f, bool sites, nc_config_notes *notes);
void nc_model_free(nc_model *m);             /* frees the sites' memory too */
const nc_family *nc_family_find(const char *model_type);    /* NULL when unknown */
const nc_family *const *nc_families(int *count);
nc_site *nc_model_site(const nc_model *m, const char *name);
/* Which part of a model with media a site belongs to; a model without media is all language. Prefixes of a part, for patterns; NULL: none (language). */
typedef enum nc_part { NC_PART_LANGUAGE, NC_PART_TOWER, NC_PART_PROJECTOR } nc_part;
nc_part nc_model_part(const nc_model *m, const nc_site *s);
const char *const *nc_model_part_names(const nc_model *m, nc_part part);
int64_t nc_model_parameters(const nc_model *m);             /* elements of all sites, buffers not counted */

/* Used by weights(): lists a site under the current scope. dims end with 0. */
nc_site *nc_weight(nc_model *m, unsigned flags, nc_init init, const char *name, int64_t d0, int64_t d1, int64_t d2, int64_t d3);
#define nc_weight_linear(m, name, out, in) nc_weight((m), NC_SITE_LINEAR, NC_INIT_NORMAL, (name), (out), (in), 0, 0)
#define nc_weight_table(m, name, rows, width) nc_weight((m), 0, NC_INIT_NORMAL, (name), (rows), (width), 0, 0)
#define nc_weight_norm(m, name, width) nc_weight((m), 0, NC_INIT_ONE, (name), (width), 0, 0, 0)
#define nc_weight_bias(m, name, width) nc_weight((m), 0, NC_INIT_ZERO, (name), (width), 0, 0, 0)
nc_site *nc_weight_conv(nc_model *m, const char *name, int64_t out, int64_t in, int64_t height, int64_t width);   /* held as [out, in*height*width] */
nc_site *nc_weight_conv1d(nc_model *m, const char *name, int64_t in, int64_t out);         /* GPT-2's [in, out], held as [out, in] */
void nc_weight_scope(nc_model *m, const char *format, ...) NC_PRINTF(2, 3);      /* below the model's own prefix */
/* Used by config(): a part of another family under a key ("vision_config"), its sites under prefix. NULL after a mistake (sticks to r). */
nc_model *nc_submodel(nc_model *m, nc_config *r, const char *key, const char *prefix);
/* The same of a tree that stands nowhere in config.json: what a name there means ("backbone": "resnet50"). It lives as long as m. */
nc_model *nc_submodel_of(nc_model *m, nc_config *r, const nc_json *config, const char *where, const char *prefix);
void nc_submodel_weights(nc_model *part);    /* lists the part's sites here in the parent's order */
/* The class that architectures names ("ViTForImageClassification"), which says what heads there are; "" for a part or when the key is absent. A class the family does
 * not answer for is a mistake. */
const char *nc_config_class(const nc_model *m, nc_config *r);
void nc_config_labels(nc_model *m, nc_config *r);            /* num_labels or id2label (2 without), problem_type */
/* Builds a model that has a loss of its own (outputs), or an encoder and the loss of its labels (nn/loss.h has the tables); NULL when there is none. */
nc_value *nc_model_loss(const nc_model *m, nc_build *b);

/* Tables of a tower for equal pictures: "vision.patches" f32 [patches, channels*patch*patch], "vision.rows" (patch of each row or -1), "vision.class" (0, 1 ... at the rows
 * before the patches, else -1), "vision.pos" (-1: none) and the spans "vision"; counts "patches", "vision". */
/* Pictures of another size than the tower's (multiples of patch_size) fill "vision.taps" and "vision.share" [vision, nc_position_taps]: weights over the position
 * table as torch's interpolate gives them with corners not aligned (cubic: a = -0.75; antialiased a = -0.5), for programs built with any_size. */
int nc_prepare_pictures(nc_batch *batch, const nc_vision_info *info, const nc_pixels *pictures, int count, nc_error *e);
/* The same for one picture a sequence, and the count "pictures". */
int nc_prepare_samples(nc_batch *batch, const nc_vision_info *info, const nc_seq *seqs, int count, nc_error *e);
/* A picture [channels, height, width] from its patches as rows [patch, patch, channels] (a NaFlex processor's). */
void nc_picture_of_patches(const float *rows, int down, int across, int patch, int channels, float *out);
int nc_position_taps(const nc_vision_info *info);
/* The taps of patch (y, x) of a down x across grid; those not set are left. */
void nc_position_tap(const nc_vision_info *info, int y, int x, int down, int across, int32_t *taps, float *share);
void nc_capacity_pictures(nc_build *b, const nc_vision_info *info, int64_t pictures);

/* The head over rows: logits [N,V] in f32 before scale and cap; log-probabilities of the scored rows' targets ("score.targets"), and from them the loss of a training program. */
int nc_head_vocabulary(const nc_head *h);
nc_value *nc_model_logits(nc_build *b, const nc_head *h, nc_value *rows);
nc_value *nc_model_logprob(nc_build *b, const nc_head *h, nc_value *rows);
nc_value *nc_model_nll(nc_build *b, const nc_head *h, nc_value *rows);
/* Tables "score.base", "score.more" and their masks, by which targets are shared out where the head has `more`; after nc_prepare_text. */
void nc_prepare_targets(nc_batch *batch, int first);

/* Stages as the rest of the program calls them. */
static inline int nc_model_media_width(const nc_model *m) { return m->media_width ? m->media_width : m->hidden_size; }
nc_value *nc_model_tower(const nc_model *m, nc_build *b);
/* What a composed family calls for its tower's rows: those of `vision`, or rows that were computed earlier (nc_pixels.rows) where the program is given them. */
nc_value *nc_model_vision(const nc_model *vision, nc_build *b, int layer, const char *probe_prefix);
nc_value *nc_model_decoder(const nc_model *m, nc_build *b, nc_value *media);
nc_value *nc_model_encoder(const nc_model *m, nc_build *b, nc_value *media);
/* What the decoder takes as its `media`: the encoder's rows, else the tower's where there are pictures, else NULL. */
nc_value *nc_model_reads(const nc_model *m, nc_build *b, bool pictures);
static inline bool nc_reads_source(const nc_model *m) { return m->family->encoder && !m->family->encoder_rows; }      /* the encoder reads text */
int nc_model_encoder_rows(const nc_model *m, const nc_seq *s);
int nc_model_prepare(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
/* Tables every decoder shares: "text.ids" [tokens], "text.pos" [tokens, 1], spans "text"; "score.rows" (rows the head is asked for: those with a target, or that
 * sample), "score.targets", "score.weights"; counts "tokens", "scored". */
int nc_prepare_text(nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
/* After nc_prepare_text: the rows of a prompt see each other, what follows sees what is before it (nc_family.whole_prompt). */
void nc_prepare_prefix(nc_batch *batch, const nc_seq *seqs, int count);
/* Encoder-decoder models that read text: nc_prepare_text, then "source.ids" [source], "source.pos" [source, 1], spans "source" (all see all), count "source", and
 * nc_prepare_cross over them. */
int nc_prepare_seq2seq(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
/* Rows x of the source's tokens, its placeholders' taken from media by the table "source.media" (nc_media_splice); media NULL: x. */
nc_value *nc_source_media(nc_build *b, nc_value *x, nc_value *media);
/* Spans "cross" of decoders with views: every run of rows that sees the same to the media's rows, which lie in the order of the sequences, or to the cache. A sequence with views and
 * media but no tokens is one whose keys are to be kept: a span for each group. */
int nc_prepare_views(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
/* Views of `count` rows over media of these rows, each a group of its own; rows of the text see nothing yet. */
void nc_views_new(nc_views *out, int count, const int *rows, int media);
void nc_views_free(nc_views *v);
/* Spans "cross": rows of the text to the encoder's rows of the same sequence, rows[i] of them in order; 0 rows where they lie in the cache. */
void nc_prepare_cross(nc_batch *batch, const nc_seq *seqs, int count, const int *rows);
#endif
