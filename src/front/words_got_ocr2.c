/* words_got_ocr2.c - GOT-OCR2: its processor writes the whole prompt itself, since the checkpoint has no chat template. */
#include "front/words.h"

const nc_wording nc_wording_got_ocr2 = { .processor = "GotOcr2Processor", .template_name = "got_ocr2" };
