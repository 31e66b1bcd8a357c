/* conversation_templates.c - chat templates for checkpoints that have none, by the names LLaMA-Factory's recipes use.
 *
 * Each renders strings and lists of parts, and marks what the assistant says by {% generation %}, the end token included.
 * Sources: the formats' own model cards (ChatML, Vicuna 1.5, LLaVA 1.5, Llama 2 and 3, Alpaca).
 */
#include "front/conversation.h"

#include <string.h>

#define CONTENT "{%- if m.content is string %}{{- m.content }}{%- else %}{%- for c in m.content %}{%- if c.type == 'text' %}{{- c.text }}{%- else %}{{- '<' + c.type + '>' }}{%- endif %}{%- endfor %}{%- endif %}"
#define CHATML \
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}{% generation %}" CONTENT "{{- '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}" \
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' }}" CONTENT "{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}" \
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
#define VICUNA \
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{{- 'ASSISTANT:' }}{% generation %}{{- ' ' }}" CONTENT "{{- eos_token }}{% endgeneration %}" \
    "{%- elif m.role == 'user' %}{{- 'USER: ' }}" CONTENT "{{- ' ' }}{%- else %}" CONTENT "{{- ' ' }}{%- endif %}{%- endfor %}" \
    "{%- if add_generation_prompt %}{{- 'ASSISTANT:' }}{%- endif %}"
#define LLAMA3 \
    "{{- bos_token }}{%- for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}{%- if m.role == 'assistant' %}{% generation %}" CONTENT \
    "{{- '<|eot_id|>' }}{% endgeneration %}{%- else %}" CONTENT "{{- '<|eot_id|>' }}{%- endif %}{%- endfor %}" \
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
#define DEFAULT \
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{{- 'Assistant:' }}{% generation %}" CONTENT "{{- eos_token }}{% endgeneration %}{{- '\\n' }}" \
    "{%- elif m.role == 'system' %}{{- 'System: ' }}" CONTENT "{{- eos_token + '\\n' }}{%- else %}{{- 'Human: ' }}" CONTENT "{{- eos_token + '\\n' }}{%- endif %}{%- endfor %}" \
    "{%- if add_generation_prompt %}{{- 'Assistant:' }}{%- endif %}"
#define ALPACA \
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '### Response:\\n' }}{% generation %}" CONTENT "{{- eos_token }}{% endgeneration %}{{- '\\n\\n' }}" \
    "{%- elif m.role == 'system' %}" CONTENT "{{- '\\n\\n' }}{%- else %}{{- '### Instruction:\\n' }}" CONTENT "{{- '\\n\\n' }}{%- endif %}{%- endfor %}" \
    "{%- if add_generation_prompt %}{{- '### Response:\\n' }}{%- endif %}"
#define EMPTY \
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{% generation %}" CONTENT "{{- eos_token }}{% endgeneration %}{%- else %}" CONTENT "{%- endif %}{%- endfor %}"

static const struct { const char *name, *source; } rows[] = {
    { "default", DEFAULT }, { "chatml", CHATML }, { "qwen", CHATML }, { "qwen3", CHATML }, { "vicuna", VICUNA }, { "llava", VICUNA },
    { "llava_next", VICUNA }, { "llava_next_video", VICUNA }, { "video_llava", VICUNA }, { "llama3", LLAMA3 }, { "alpaca", ALPACA }, { "empty", EMPTY },
};

const char *nc_builtin_template(const char *name)
{
    for (int i = 0; i < NC_COUNT(rows); i++)
        if (!strcmp(rows[i].name, name))
            return rows[i].source;
    return NULL;
}

const char *const *nc_builtin_templates(int *count)
{
    static const char *const names[] = { "default", "chatml", "qwen", "qwen3", "vicuna", "llava", "llava_next", "llava_next_video", "video_llava", "llama3", "alpaca", "empty" };
    _Static_assert(sizeof names / sizeof *names == sizeof rows / sizeof *rows, "one name for each row");
    *count = NC_COUNT(names);
    return names;
}
