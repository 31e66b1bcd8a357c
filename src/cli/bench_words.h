/* bench_words.h - the tokenizer that `nunchi bench load` puts beside its made checkpoint. */
#ifndef NC_CLI_BENCH_WORDS_H
#define NC_CLI_BENCH_WORDS_H
#include "base/arena.h"
#include "base/status.h"

/* Writes folder/tokenizer.json: a byte-level BPE of so many pieces (at most 400 million), the same each time. */
int nc_bench_write_tokenizer(nc_arena *a, const char *folder, int pieces, nc_error *e);
#endif
