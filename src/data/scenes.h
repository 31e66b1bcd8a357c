/* scenes.h - korean-scenes: short clips of drawn Korean landscapes with captions in Korean, made from a seed.
 *
 * A clip shows a place at a time of day under a weather, with no, one or two moving things, through a camera that stands, moves sideways or comes
 * nearer. Same parameters, same bytes. Layout of the folder:
 *   clips/000001.mp4 ...      H.264
 *   train.jsonl, val.jsonl, test.jsonl    {"id", "video", "videos": [..], "conversations": [{"from", "value"} x 2]}, as LLaVA and LLaMA-Factory read
 *   references.jsonl          {"id", "video", "split", "references": [3], "ceiling", "slots": {place, time, weather, objects, camera}}
 *   captions.txt              the training captions, one a line: text for a tokenizer and for the decoder's first stage
 *   dataset_info.json         the three splits under LLaMA-Factory's keys
 *   scenes.json               the parameters, read back to see whether the folder is what was asked for
 * About 10 % of the clips are test and 5 % validation; no combination of all five slots occurs in two splits.
 */
#ifndef NC_DATA_SCENES_H
#define NC_DATA_SCENES_H
#include "base/str.h"

enum { nc_scene_places = 8, nc_scene_times = 5, nc_scene_weathers = 5, nc_scene_things = 11, nc_scene_cameras = 3, nc_scene_slot_count = 5 };

typedef struct nc_scene_slots {
    int place, time, weather, camera;    /* index of its names; -1: not named; -2: named in two ways */
    uint32_t objects;                    /* bit per thing */
} nc_scene_slots;

typedef struct nc_scenes_options {       /* 0: the default */
    int size;                            /* 96; even, 32 to 512 */
    int fps;                             /* 8 */
    int frames;                          /* 20 */
    int captions;                        /* training lines for each clip, 1 to 3; 3 */
    int threads;                         /* 0: all */
} nc_scenes_options;

typedef void nc_scenes_progress(void *context, int done, int clips);

/* The folder must not exist or be one that the same call made (then nothing is done). It appears whole or not at all. */
int nc_scenes_make(const char *out_folder, int clips, uint64_t seed, const nc_scenes_options *options, nc_scenes_progress *progress, void *context,
                   nc_error *e);

/* "바다", "저녁", "비", "배", "고정" ... ; slot 0 place, 1 time, 2 weather, 3 thing, 4 camera; NULL past the end. */
const char *nc_scene_name(int slot, int index);
/* What a caption names. */
void nc_scenes_slots(const char *caption, nc_scene_slots *out);
/* Which of the five slots agree (place, time, weather, objects as a set, camera); returns how many. right may be NULL. */
int nc_scenes_compare(const nc_scene_slots *a, const nc_scene_slots *b, bool right[nc_scene_slot_count]);

/* A caption of the slots; variant is any number, captions of different variants differ in order and words or are equal. Appends to out. */
void nc_scenes_caption(const nc_scene_slots *slots, uint64_t seed, uint64_t variant, nc_buf *out);

/* A Korean particle after word: "이/가", "을/를", "은/는", "으로/로", "과/와" by its last syllable's final consonant (으로/로 counts ㄹ as none). */
typedef enum nc_particle { NC_SUBJECT, NC_OBJECT, NC_TOPIC, NC_TOWARDS, NC_WITH } nc_particle;
const char *nc_korean_particle(const char *word, nc_particle p);
#endif
