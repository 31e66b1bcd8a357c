/* gguf_names.h - where a site lies in a folder of GGUF files: model.gguf for the decoder, mmproj.gguf for the tower and the projector, under llama.cpp's names. */
#ifndef NC_LOAD_GGUF_NAMES_H
#define NC_LOAD_GGUF_NAMES_H
#include "models/model.h"

typedef struct nc_gguf_name {
    bool mmproj;
    char name[64];                   /* GGUF allows 63 bytes */
    int rotary;                      /* rows are permuted within each head of so many; 0: as they are */
} nc_gguf_name;

/* m is the whole model. Sites that llama.cpp has no name for keep their own ("nunchi.<index>" where that is too long). Never fails today; e is for families that
 * cannot be held so. */
int nc_gguf_name_of(const nc_model *m, const nc_site *s, nc_gguf_name *out, nc_error *e);
/* The file's row of a site's row, and back. convert_hf_to_gguf turns LLaMA's rotation by halves (i, i + A/2) into one by neighbours (2i, 2i + 1): site row
 * j A/2 + i of a head is the file's row 2i + j. */
int64_t nc_gguf_file_row(int rotary, int64_t row);
int64_t nc_gguf_site_row(int rotary, int64_t row);
/* The config of the decoder: text_config where there is one. */
const nc_json *nc_gguf_text_config(const nc_model *m);
#endif
