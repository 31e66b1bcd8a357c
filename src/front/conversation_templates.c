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
/* ChatML with each family's own words for pictures and videos. */
#define PARTS(image, video) "{%- if m.content is string %}{{- m.content }}{%- else %}{%- for c in m.content %}{%- if c.type == 'image' %}{{- '" image "' }}" \
    "{%- elif c.type == 'video' %}{{- '" video "' }}{%- else %}{{- c.text }}{%- endif %}{%- endfor %}{%- endif %}"
#define CHATML_OF(parts, system, end) \
    "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\n" system "<|im_end|>" end "' }}{%- endif %}" \
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}{% generation %}" parts "{{- '<|im_end|>' }}{% endgeneration %}{{- '" end "' }}" \
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' }}" parts "{{- '<|im_end|>" end "' }}{%- endif %}{%- endfor %}" \
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
#define QWEN_VL CHATML_OF(PARTS("<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>"), "You are a helpful assistant.", "\\n")
#define INTERN_VL CHATML_OF(PARTS("<IMG_CONTEXT>\\n", "<video>\\n"), \
    "You are InternVL, a multimodal large language model from the Shanghai AI Laboratory, Tsinghua University and partners.", "\\n")
#define GOT CHATML_OF(PARTS("<img><imgpad></img>\\n ", ""), "You should follow the instructions carefully and explain your answers in detail.", "")
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

/* Pictures, <s>, the question and what ends it; the answer follows. PaliGemma and BLIP-2 were trained for one turn. */
#define PICTURES_FIRST(end) \
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{% generation %}" CONTENT "{{- eos_token }}{% endgeneration %}{%- elif m.content is string %}{{- bos_token + m.content + '" end "' }}" \
    "{%- else %}{%- for p in m.content %}{%- if p.type == 'image' %}{{- '<image>' }}{%- endif %}{%- endfor %}{{- bos_token }}" \
    "{%- for p in m.content %}{%- if p.type == 'text' %}{{- p.text }}{%- endif %}{%- endfor %}{{- '" end "' }}{%- endif %}{%- endfor %}"

/* IDEFICS: the processor strips blanks around what stands beside a picture; checkpoints that were not taught conversations have no token for a turn's end. */
#define IDEFICS_CONTENT "{%- if m.content is string %}{{- ' ' + m.content }}{%- else %}{%- for c in m.content %}{%- if c.type == 'text' %}{%- if loop.first %}{{- ' ' }}{%- endif %}" \
    "{{- c.text.strip(' ') }}{%- else %}{{- '<' + c.type + '>' }}{%- endif %}{%- endfor %}{%- endif %}"
#define IDEFICS(end) \
    "{{- bos_token }}{%- for m in messages %}{%- if not loop.first %}{{- '\\n' }}{%- endif %}{%- if m.role == 'assistant' %}{{- 'Assistant:' }}{% generation %}" IDEFICS_CONTENT \
    end "{% endgeneration %}{%- else %}{{- m.role | capitalize + ':' }}" IDEFICS_CONTENT end "{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '\\nAssistant:' }}{%- endif %}"

static const struct { const char *name, *source; } rows[] = {
    { "default", DEFAULT }, { "chatml", CHATML }, { "qwen", CHATML }, { "qwen3", CHATML }, { "vicuna", VICUNA }, { "llava", VICUNA },
    { "llava_next", VICUNA }, { "llava_next_video", VICUNA }, { "video_llava", VICUNA }, { "llama3", LLAMA3 }, { "alpaca", ALPACA }, { "empty", EMPTY },
    { "qwen2_vl", QWEN_VL }, { "qwen3_vl", QWEN_VL }, { "intern_vl", INTERN_VL }, { "got_ocr2", GOT }, { "paligemma", PICTURES_FIRST("\\n") },
    { "blip2", PICTURES_FIRST("") }, { "idefics", IDEFICS("{{- '<end_of_utterance>' }}") }, { "idefics_base", IDEFICS("") },
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
    static const char *const names[] = { "default", "chatml", "qwen", "qwen3", "vicuna", "llava", "llava_next", "llava_next_video", "video_llava", "llama3", "alpaca", "empty",
                                         "qwen2_vl", "qwen3_vl", "intern_vl", "got_ocr2", "paligemma", "blip2", "idefics", "idefics_base" };
    _Static_assert(sizeof names / sizeof *names == sizeof rows / sizeof *rows, "one name for each row");
    *count = NC_COUNT(names);
    return names;
}
