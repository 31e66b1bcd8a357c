/* wordnet.h - synonyms from WordNet's own files, for the third stage of NLTK's METEOR.
 *
 * Data is the user's (Debian: wordnet-base, /usr/share/wordnet): index.* and data.* of noun, verb, adj, adv and the *.exc lists of irregular forms.
 * Source: wndb(5wn), morphy(7wn); lookup as nltk.corpus.wordnet.synsets(word) and the names of its synsets' lemmas without underscores.
 */
#ifndef NC_EVAL_WORDNET_H
#define NC_EVAL_WORDNET_H
#include "eval/units.h"

typedef struct nc_wordnet nc_wordnet;
int nc_wordnet_load(const char *folder, nc_wordnet **out, nc_error *e);     /* freed by nc_wordnet_free; NC_ENOTFOUND without the files */
void nc_wordnet_free(nc_wordnet *w);                                        /* NULL is allowed */
/* Lemma names of every synset of word (any part of speech), each once, in order of first appearance; in a. */
nc_words nc_wordnet_lemmas(nc_wordnet *w, nc_arena *a, nc_str word);
/* An nc_synonym_fn: context is the nc_wordnet. Keeps the lemmas of the last word asked for, so one thread at a time. */
bool nc_wordnet_related(void *wordnet, nc_str word, nc_str other);
#endif
