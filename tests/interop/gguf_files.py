"""GGUF files that `nunchi export` wrote, read by others: llama.cpp's own gguf package finds in each what its architecture knows, and transformers' GGUF loader, for the
architectures it has, computes from them what the folder computes. Arguments after the program: only these families.
"""
import json
import os
import re
import sys

from checks import check, finish, folder, golden, nunchi

try:
    import gguf
    import numpy
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)
import torch
import transformers
from safetensors.torch import load_file

# Qwen3-MoE's golden folder has a dense layer, which llama.cpp's form has no name for.
KNOWN = ["gpt2", "gpt2_prefixed", "gpt_neox", "gpt_neox_seq", "bloom", "mamba", "mamba2", "llama", "llama3", "llama_linear", "llama_yarn", "mistral", "mixtral", "qwen2", "qwen2_moe",
         "qwen3", "qwen3_next", "gemma2", "gemma3", "phi3", "olmo2", "glm4", "deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "deepseek_v32", "bert", "bert_classify",
         "roberta", "distilbert", "t5", "t5_v11"]
# Of the others transformers 5.24 has no words, no mapping of Mistral and Mixtral, and does not take the shapes of the golden Qwen2-MoE.
BY_TRANSFORMERS = ["gpt2", "gpt2_prefixed", "bloom", "mamba", "llama", "llama3", "llama_linear", "llama_yarn", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "t5", "t5_v11"]
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def written(made, family, dtype):
    out = os.path.join(made, dtype)
    nunchi("export", golden(family), "--to", "gguf", "--dtype", dtype, "--out", out)
    return os.path.join(out, "model.gguf")


def by_its_own_reader(family):
    with folder() as made:
        seen = []
        for dtype in ("f32", "f16", "q8_0"):
            reader = gguf.GGUFReader(written(made, family, dtype))
            word = reader.fields["general.architecture"].contents()
            arch = next((a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == word), None)
            if arch is None:
                return f"this gguf package is older than {word}"
            names = [re.escape(gguf.TENSOR_NAMES[t]).replace(re.escape("{bid}"), r"\d+") for t in gguf.MODEL_TENSORS[arch]]
            for t in reader.tensors:
                if not any(re.fullmatch(name + r"(\.weight|\.bias)?", t.name) for name in names):
                    raise AssertionError(f"{t.name} is no tensor of {word}")
                if not numpy.isfinite(gguf.quants.dequantize(t.data, t.tensor_type)).all():
                    raise AssertionError(f"{t.name} is not finite")
            blocks = reader.fields[f"{word}.block_count"].contents()
            highest = max([int(m.group(1)) for t in reader.tensors if (m := re.search(r"blk\.(\d+)\.", t.name))])
            if highest + 1 != blocks:
                raise AssertionError(f"{blocks} blocks said, {highest + 1} there")
            seen.append(f"{dtype} {len(reader.tensors)} tensors")
        return f"{word}: " + ", ".join(seen)


def by_transformers(family):
    with folder() as made:
        at = golden(family)
        with open(os.path.join(at, "golden.json")) as f:
            kind = getattr(transformers, json.load(f)["class"])
        tensors = load_file(os.path.join(at, "golden.safetensors"))
        key = next(k for k in sorted(tensors, reverse=True) if k.startswith("in.input_ids"))
        ids = tensors[key].reshape(1, -1)[:, :16]
        config = transformers.AutoConfig.from_pretrained(at)      # its own from the file knows no windows and no scaling
        given = {"input_ids": ids, "decoder_input_ids": ids[:, :4]} if config.is_encoder_decoder else {"input_ids": ids}
        theirs = kind.from_pretrained(os.path.dirname(written(made, family, "f32")), gguf_file="model.gguf", config=config, dtype=torch.float32).eval()
        own = kind.from_pretrained(at, dtype=torch.float32).eval()
        with torch.no_grad():
            a, b = theirs(**given).logits, own(**given).logits
        worst = ((a - b).abs().max() / b.abs().max()).item()
        if worst > 2e-5:
            raise AssertionError(f"logits differ by {worst:.1e} of the largest")
        return f"logits within {worst:.1e}"


families = sys.argv[2:] or KNOWN
for family in families:
    if not golden(family):
        print(f"skip  {family}: no such golden folder; NUNCHI_SHARED names the large tree")
        continue
    check(f"{family} by llama.cpp's gguf package", by_its_own_reader, family)
    if family in BY_TRANSFORMERS:
        check(f"{family} by transformers' GGUF loader", by_transformers, family)
finish()
