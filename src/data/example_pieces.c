/* example_pieces.c - running text for encoders: each piece as long as the model reads, with the special tokens that the tokenizer puts around a text. */
#include "data/example_make.h"

int nc_example_make_pieces(nc_making *w, const nc_sample *s, nc_error *e)
{
    nc_arena *a = w->x->arena;
    nc_encoding x = { 0 };
    NC_TRY(nc_tokenizer_encode_full(w->t, nc_sample_answer(s), NULL, NC_ENCODE_SPECIAL, &x, e));
    size_t before = 0, behind = 0;
    while (before < x.n && x.sequence[before] < 0)
        before++;
    while (behind < x.n - before && x.sequence[x.n - 1 - behind] < 0)
        behind++;
    const size_t frame = before + behind, most = (size_t)w->o->cutoff > frame ? (size_t)w->o->cutoff - frame : 1;
    for (size_t at = before; at < x.n - behind; at += most) {
        const size_t n = x.n - behind - at < most ? x.n - behind - at : most;
        int32_t *ids = NC_NEW_ARRAY(a, int32_t, n + frame + 1), *targets = NC_NEW_ARRAY(a, int32_t, n + frame + 1);
        for (size_t i = 0; i < n + frame; i++) {
            ids[i] = i < before ? x.ids[i] : i < before + n ? x.ids[at + i - before] : x.ids[x.n - behind + i - before - n];
            targets[i] = i < before || i >= before + n || nc_tokenizer_is_special(w->t, ids[i]) ? -1 : ids[i];
        }
        nc_example_add(w, (nc_example){ .ids = ids, .targets = targets, .count = (int)(n + frame) });
    }
    nc_encoding_free(&x);
    return 0;
}
