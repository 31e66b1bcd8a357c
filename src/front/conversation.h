/* conversation.h - messages and media to what a model takes: token ids with placeholders repeated once a feature row, the mask of what the assistant said,
 * pixels. Training and serving use this one road, so a model hears at home what it heard at school.
 *
 * Messages are a list as Hugging Face templates take it: {"role", "content"}, content a string or a list of parts {"type": "text", "text"}, {"type": "image"},
 * {"type": "video"}. Media come beside it, in the order of their parts.
 */
#ifndef NC_FRONT_CONVERSATION_H
#define NC_FRONT_CONVERSATION_H
#include "front/processor.h"
#include "media/video.h"
#include "text/template.h"
#include "text/tokenizer.h"

/* A picture or the frames of a video, ready for a tower: pixels [frames, channels, height, width]. */
typedef struct nc_visual {
    bool is_video;
    float *pixels;                   /* the arena's it was made in */
    const uint8_t *u8;               /* the same before rescaling, or NULL */
    int frames, channels, height, width;
    int original_height, original_width;
    /* Pictures that come cut into patches: a frame is one step in time of grid_height x grid_width patches; pixels [frames, height, channels, width] with height patches, width
     * values of a patch and channel. 0: as above. */
    int grid_height, grid_width;
    int tile_rows, tile_columns;     /* of a picture that was cut, where its words say so (Idefics3); 0: whole */
    float seconds_per_grid;          /* of a video, between two frames; 0: unknown */
    const double *times;             /* of a video's frames, seconds; the arena's; NULL: unknown */
    int pictures;                    /* of its prompt, this one included, videos not counted: LLaVA-OneVision tiles a picture that is alone; 0: unknown */
} nc_visual;
/* Units of a tower's work (patches, else pictures and frames), values of one, and values of one colour that follow each other. */
static inline int64_t nc_visual_units(const nc_visual *v) { return v->grid_height ? (int64_t)v->frames * v->height : v->frames; }
static inline size_t nc_visual_unit(const nc_visual *v) { return (size_t)v->channels * (size_t)v->width * (v->grid_height ? 1 : (size_t)v->height); }
static inline size_t nc_visual_plane(const nc_visual *v) { return (size_t)v->width * (v->grid_height ? 1 : (size_t)v->height); }

typedef struct nc_visual_options {
    int frames;                      /* of a video; 0: what its config says (num_frames), else 8 */
    nc_sampling sampling;
    int64_t max_pixels;              /* of a picture or frame; 0: the decoders' own bounds */
    int max_frames;                  /* of a whole video file; 0: the decoder's own bound */
    /* LLaMA-Factory's image_min_pixels ... video_fps, 0: none. Pictures and frames are scaled into [least, most] pixels before the processor sees them; a video gives so many frames a
     * second, `frames` at most. */
    struct { int64_t least, most; } picture_area, frame_area;
    double rate;
    /* What is done to a decoded picture or frame before all else (augmentation); NULL: nothing. *im may be replaced. */
    int (*edit)(void *context, nc_image *im, nc_error *e);
    void *edit_context;
} nc_visual_options;

/* file: the bytes of a picture or a video in any known format; name is for errors. Scratch pictures are freed before return. */
int nc_visual_decode(const nc_processor *image, const nc_processor *video, nc_arena *a, bool is_video, const void *file, size_t n, const char *name,
                     const nc_visual_options *o, nc_visual *out, nc_error *e);
int nc_visual_load(const nc_processor *image, const nc_processor *video, nc_arena *a, bool is_video, const char *path, const nc_visual_options *o,
                   nc_visual *out, nc_error *e);
/* The frames of a video, already chosen: their times (seconds, may be NULL), and how many there are a second (0: unknown). */
typedef struct nc_visual_times { const double *seconds; double rate; } nc_visual_times;
int nc_visual_of_frames(const nc_processor *image, const nc_processor *video, nc_arena *a, const nc_image *frames, int count, const nc_visual_times *t, const char *name,
                        nc_visual *out, nc_error *e);
int nc_visual_of_image(const nc_processor *image, nc_arena *a, const nc_image *im, const char *name, nc_visual *out, nc_error *e);
/* num_frames of the folder's video_preprocessor_config.json or preprocessor_config.json; 0 when it says nothing. */
int nc_visual_frames(nc_arena *a, const char *folder);

typedef struct nc_conversation nc_conversation;      /* immutable after making; threads may share it */
typedef struct nc_conversation_options {
    const nc_tokenizer *tokenizer;   /* borrowed */
    const char *template_name;       /* of the list below; NULL: the tokenizer's own template, else "default" */
    const char *template_source;     /* a template's text, before both; NULL: none */
    int image_token_id, video_token_id;   /* -1 without */
    const char *processor;           /* the folder's processor_class, which may write more than placeholders (front/words.h); NULL: none */
} nc_conversation_options;
const char *nc_processor_name(nc_arena *a, const char *folder);      /* processor_class of a folder's files; NULL when they say nothing */
int32_t nc_processor_end(const char *processor, const nc_tokenizer *t);      /* the token by which its models end a turn, beside the folder's end token; -1: none */
int nc_conversation_new(const nc_conversation_options *o, nc_conversation **out, nc_error *e);
void nc_conversation_free(nc_conversation *c);       /* NULL is allowed */
const char *nc_conversation_template(const nc_conversation *c);      /* its source */

/* Templates for checkpoints without one, by LLaMA-Factory's names ("default", "chatml", "qwen", "vicuna", "llava", "llama3" ...); NULL when unknown. */
const char *nc_builtin_template(const char *name);
const char *const *nc_builtin_templates(int *count);

typedef struct nc_conversation_request {
    const nc_json *messages;
    const nc_json *tools, *extra;    /* may be NULL */
    const int *media_rows;           /* feature rows of each medium, in order */
    const nc_visual *const *media;   /* the media themselves (shapes; no pixels are read), for processor classes that write about them; NULL: rows alone */
    int media_count;
    bool generate;                   /* the prompt of an answer: ends where the assistant begins */
    bool continue_final;             /* ends behind the last message's text */
    bool train;                      /* fill mask; an answer that the template does not end gets the end token */
    double now;                      /* for strftime_now; 0: the clock */
} nc_conversation_request;

typedef struct nc_conversation_ids {
    int32_t *ids;
    uint8_t *mask;                   /* 1 where the assistant speaks, its end token included; NULL unless asked for */
    int count;
    int media_end;                   /* behind the last row of a medium; 0 without */
} nc_conversation_ids;

/* Results lie in a. Fails when placeholders and media do not match, for template errors and for invalid UTF-8. */
int nc_conversation_encode(const nc_conversation *c, nc_arena *a, const nc_conversation_request *r, nc_conversation_ids *out, nc_error *e);
/* What the encoder of an encoder-decoder model reads: rows of media, each its model's media_token, before the text as the processor class words it (a task's word becomes its
 * question). ids and media_end of out are set. */
typedef struct nc_source_request { const nc_tokenizer *tokenizer; const char *processor; int media_token; nc_str text; const int *media_rows; int media_count; } nc_source_request;
int nc_source_encode(const nc_source_request *r, nc_arena *a, nc_conversation_ids *out, nc_error *e);
/* The word of a task where a processor class has such ("<CAPTION>"), else NULL. */
typedef enum nc_task { NC_TASK_CAPTION, NC_TASK_OCR, NC_TASK_DETECT, NC_TASKS } nc_task;
const char *nc_source_task(const char *processor, nc_task task);
/* A running text (completions, plain corpora): specials added as the tokenizer's post-processor says, no template. */
int nc_conversation_text(const nc_conversation *c, nc_arena *a, nc_str text, nc_conversation_ids *out, nc_error *e);
#endif
