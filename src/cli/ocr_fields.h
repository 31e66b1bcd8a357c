/* ocr_fields.h - fields written as text by Donut to JSON. */
#ifndef NC_CLI_OCR_FIELDS_H
#define NC_CLI_OCR_FIELDS_H
#include "base/json.h"
/* text without the task's own token and the end token; {"text_sequence": text} where it has no field. The tree is the arena's. */
nc_json *nc_ocr_fields(nc_arena *a, nc_str text);
#endif
