/* porter.h - Porter's stemmer as NLTK ships it (mode NLTK_EXTENSIONS), which its METEOR and rouge_score use.
 * Source: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980; the departures are listed in porter.c. */
#ifndef NC_EVAL_PORTER_H
#define NC_EVAL_PORTER_H
#include "base/str.h"

/* word is in lower case already; the stem lies in a or is word itself. Characters outside a-z count as consonants. */
nc_str nc_porter_stem(nc_arena *a, nc_str word);
#endif
