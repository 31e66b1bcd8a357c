/* words_paligemma.c - PaliGemma: its processor writes the whole prompt itself, since the checkpoint has no chat template. */
#include "front/words.h"

static const char *const tasks[NC_TASKS] = { [NC_TASK_CAPTION] = "caption en" };

const nc_wording nc_wording_paligemma = { .processor = "PaliGemmaProcessor", .template_name = "paligemma", .tasks = tasks };
