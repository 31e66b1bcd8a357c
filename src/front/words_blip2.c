/* words_blip2.c - BLIP-2: its processor writes the pictures' tokens before <s>, then the text as it is ("Question: ... Answer:" is the user's to write), and the
 * checkpoint has no chat template. Without a text it captions. */
#include "front/words.h"

static const char *const tasks[NC_TASKS] = { [NC_TASK_CAPTION] = "" };

const nc_wording nc_wording_blip2 = { .processor = "Blip2Processor", .template_name = "blip2", .tasks = tasks };
