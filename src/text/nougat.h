/* nougat.h - what Nougat's tokenizer does to a page's text after decoding (transformers: NougatTokenizerFast.post_process_generation). */
#ifndef NC_TEXT_NOUGAT_H
#define NC_TEXT_NOUGAT_H
#include "base/str.h"
/* text, valid UTF-8, becomes the markdown, in place. */
void nc_nougat_markdown(nc_buf *text);
#endif
