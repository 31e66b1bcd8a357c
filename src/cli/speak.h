/* speak.h - what caption and chat share: a session by options of the command line, and answers on the terminal as they come. */
#ifndef NC_CLI_SPEAK_H
#define NC_CLI_SPEAK_H
#include "cli/cli.h"
#include "infer/session.h"

#define NC_SPEAK_OPTIONS \
    { "dtype", "TYPE", "f32 or bf16; the checkpoint's" }, \
    { "max-tokens", "N", "of an answer" }, \
    { "temperature", "T", "0 takes the best token" }, \
    { "top-p", "P", "the smallest set of best tokens with mass above P" }, \
    { "top-k", "N", "the N best tokens" }, \
    { "beams", "N", "beam search with N beams" }, \
    { "generation", "JSON", "keys of generation_config.json over the folder's: '{\"no_repeat_ngram_size\": 3}'" }, \
    { "seed", "N", "the same seed gives the same text" }, \
    { "frames", "N", "taken of a video; what the folder says" }, \
    { "template", "NAME", "a built-in chat template instead of the folder's" }, \
    { "max-length", "N", "tokens of the whole conversation; the model's" }, \
    { "threads", "N", "threads, all CPUs by default" }

/* The question of korean-scenes, asked where the user asks none. */
#define NC_SPEAK_QUESTION "이 영상을 한 문장으로 설명해 주세요."
#define NC_SPEAK_PICTURE_QUESTION "이 그림을 한 문장으로 설명해 주세요."

int nc_speak_open(nc_cli *c, const char *folder, nc_session **s, nc_generation_options *o, nc_error *e);
/* A file that can be opened; is it a video by its first bytes? */
int nc_speak_attachment(const char *path, nc_attachment *out, nc_error *e);
#endif
