/* gguf_cuttings.c - pre-tokenizers that llama.cpp knows by name; the patterns are those of the models' own tokenizer.json files. */
#include "load/gguf_cuttings.h"

#include <string.h>

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
#define LETTERS "A-Za-z\xc2\xb5\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}" \
    "\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}" \
    "\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}" \
    "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}" \
    "\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}" \
    "\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}" \
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}" \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"


static const nc_gguf_cutting cuttings[] = {
    { "gpt-2 mpt olmo jais roberta-bpe phi-2 trillion default gpt-neox", false, { GPT2 } },
    { "llama-bpe llama3 llama-v3 smaug-bpe dbrx falcon3 falcon-h1 pixtral glm4 chatglm-bpe lfm2", false, { LLAMA3_HEAD "\\p{N}{1,3}" LLAMA3_TAIL } },
    { "qwen2 deepseek-r1-qwen megrez stablelm2", true, { LLAMA3_HEAD "\\p{N}" LLAMA3_TAIL } },
    { "starcoder refact command-r smollm codeshell exaone minerva-7b", false, { "\\p{N}", GPT2 } },
    { "deepseek-llm", false, { "[\\r\\n]", "\\s?[" LETTERS "]+", "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+", "\\s+$",
        "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}+" } },
    { "deepseek-coder", false, { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}" } },
    { "deepseek-v3 hunyuan-dense", false, { "\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { "gpt-4o llama4", false, { CASED "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { "tekken", false, { "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
        "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { "bloom poro-chat gpt3-finnish", false, { " ?[^(\\s|.,!?\xe2\x80\xa6\xe3\x80\x82\xef\xbc\x8c\xe3\x80\x81\xe0\xa5\xa4\xdb\x94\xd8\x8c)]+" } },
    { "falcon", false, { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]" } },
};


static bool lists(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = strstr(names, name); at && n; at = strstr(at + 1, name))
        if ((at == names || at[-1] == ' ') && (at[n] == 0 || at[n] == ' '))
            return true;
    return false;
}

const nc_gguf_cutting *nc_gguf_cutting_of(const char *name)
{
    for (int i = 0; i < NC_COUNT(cuttings); i++)
        if (lists(cuttings[i].names, name))
            return &cuttings[i];
    return NULL;
}

enum { MOST = NC_GGUF_CUTS + 1 };

/* The patterns of a pre_tokenizer in order; one that has no pattern's form counts as "". */
static void gather(const nc_json *part, const char *steps[MOST], int *count)
{
    const char *type = nc_json_string(nc_json_get(part, "type"), ""), *step = "";
    if (!strcmp(type, "Sequence")) {
        NC_JSON_EACH(inner, nc_json_get(part, "pretokenizers"))
            gather(inner, steps, count);
        return;
    }
    if (!strcmp(type, "Split"))
        step = nc_json_string(nc_json_path(part, "pattern.Regex"), "");
    else if (!strcmp(type, "Digits"))
        step = nc_json_bool(nc_json_get(part, "individual_digits"), false) ? "\\p{N}" : "\\p{N}+";
    else if (!strcmp(type, "Punctuation"))
        step = "\\p{P}";
    else if (!strcmp(type, "ByteLevel"))
        step = nc_json_bool(nc_json_get(part, "use_regex"), true) ? GPT2 : NULL;
    if (step && *count < MOST)
        steps[(*count)++] = step;
}

const char *nc_gguf_cutting_name(nc_arena *a, const nc_json *pre_tokenizer)
{
    const char *steps[MOST] = { NULL };
    int count = 0;
    gather(pre_tokenizer, steps, &count);
    if (count == 1 && strstr(steps[0], "\xe0\xa5\xa4\xdb\x94\xd8\x8c"))     /* BLOOM's own spelling nests a class */
        return "bloom";
    for (int i = 0; i < NC_COUNT(cuttings); i++) {
        int same = 0;
        while (same < count && same < NC_GGUF_CUTS && cuttings[i].step[same] && !strcmp(cuttings[i].step[same], steps[same]))
            same++;
        if (same == count && (same == NC_GGUF_CUTS || !cuttings[i].step[same]))
            return nc_arena_strndup(a, cuttings[i].names, strcspn(cuttings[i].names, " "));
    }
    return "default";
}
