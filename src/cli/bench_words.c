/* bench_words.c - a tokenizer of a model's size where no real one is at hand: to be loaded, and to say nothing. */
#include "base/file.h"
#include "cli/bench_words.h"
#include "text/parts.h"

/* Piece `i` of a byte-level BPE and the two it is merged of: the 256 bytes, all pairs of letters, all pairs of those, and what those make in pairs (6 to 8 letters,
 * the lengths of a large vocabulary's words). */
static nc_str piece(nc_arena *a, int i, nc_str part[2])
{
    enum { BYTES = 256, TWO = 26 * 26, FOUR = 20000 };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    nc_buf b = { 0 };
    if (i < BYTES) {
        const char byte = (char)i;
        nc_bytelevel_encode((nc_str){ &byte, 1 }, &b);
    } else if (i < BYTES + TWO) {
        part[0] = (nc_str){ letters + (i - BYTES) / 26, 1 };
        part[1] = (nc_str){ letters + (i - BYTES) % 26, 1 };
    } else {
        const bool four = i < BYTES + TWO + FOUR;
        const int n = i - BYTES - TWO - (four ? 0 : FOUR), first = four ? n / TWO : n / FOUR, second = four ? n % TWO : n % FOUR;
        nc_str none[2];
        part[0] = piece(a, BYTES + (four ? first : TWO + first), none);
        part[1] = piece(a, BYTES + (four ? second : TWO + second), none);
    }
    if (i >= BYTES) {
        nc_buf_add(&b, part[0].p, part[0].n);
        nc_buf_add(&b, part[1].p, part[1].n);
    }
    nc_str made = { nc_arena_strndup(a, b.p, b.n), b.n };
    nc_buf_free(&b);
    return made;
}

/* A byte-level BPE of as many pieces as the model has rows, laid out as the ecosystem writes it. */
int nc_bench_write_tokenizer(nc_arena *a, const char *folder, int pieces, nc_error *e)
{
    nc_buf vocab = { 0 }, merges = { 0 }, all = { 0 };
    for (int i = 0; i < pieces; i++) {
        nc_str part[2] = { { 0 } };
        nc_buf_adds(&vocab, i ? ",\n      " : "\n      ");
        nc_buf_json_string(&vocab, piece(a, i, part));
        nc_buf_printf(&vocab, ": %d", i);
        if (part[0].n)
            nc_buf_printf(&merges, "%s\n      [\n        \"%.*s\",\n        \"%.*s\"\n      ]", merges.n ? "," : "", (int)part[0].n, part[0].p, (int)part[1].n, part[1].p);
    }
    nc_buf_printf(&all, "{\n  \"version\": \"1.0\",\n  \"added_tokens\": [],\n  \"normalizer\": {\"type\": \"NFC\"},\n  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                  "\"trim_offsets\": false, \"use_regex\": true},\n  \"decoder\": {\"type\": \"ByteLevel\"},\n  \"model\": {\n    \"type\": \"BPE\",\n    \"vocab\": {");
    nc_buf_add(&all, vocab.p, vocab.n);
    nc_buf_adds(&all, "\n    },\n    \"merges\": [");
    nc_buf_add(&all, merges.p, merges.n);
    nc_buf_adds(&all, "\n    ]\n  }\n}\n");
    const int status = nc_file_write(nc_path_join(a, folder, "tokenizer.json"), all.p, all.n, e);
    nc_buf_free(&vocab);
    nc_buf_free(&merges);
    nc_buf_free(&all);
    return status;
}
