/* qwen.h - what the Qwen families share: which layers slide. */
#ifndef NC_MODELS_QWEN_H
#define NC_MODELS_QWEN_H
#include "models/llama.h"
/* No window unless use_sliding_window; then layers from max_window_layers on, or as layer_types says. */
void nc_qwen_windows(nc_model *m, nc_llama *c, nc_config *r);
#endif
