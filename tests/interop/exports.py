"""What `nunchi export` writes loads in transformers with no tensor missing or left over, and computes what the folder it came from computes.

For each family: to hf as it is (outputs against golden.safetensors, and `nunchi verify` of the written folder against the same file), to hf in bf16
(against the reference's own model rounded to bf16), and for the families llama.cpp knows to gguf and back. Arguments after the program: only these families.
"""
import inspect
import json
import os
import shutil
import sys

from checks import all_golden, check, finish, folder, golden, nunchi

import torch
import transformers
from safetensors.torch import load_file

# Every folder of golden/models is tried. THROUGH_GGUF: those with a form that llama.cpp knows.
THROUGH_GGUF = ["llama", "llama3", "llama_linear", "llama_yarn", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "gemma2", "gemma3", "phi3", "olmo2", "glm4",
                "deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "deepseek_v32", "gpt2", "gpt2_prefixed", "gpt_neox", "gpt_neox_seq", "bloom", "mamba", "mamba2", "bert", "bert_classify",
                "roberta", "distilbert", "t5", "t5_v11", "llava", "llava_next", "llava_next_video", "llava_siglip", "llava_onevision", "internvl", "got_ocr2", "paligemma", "idefics3", "qwen2_vl", "qwen2_5_vl",
                "qwen3_vl"]
LEFT_OUT = {"trocr_small": "transformers 5 leaves its sinusoidal positions without values"}
TOLERANCE = 2e-5
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def load(at, name):
    """The reference's model, f32; what it says about the keys must be nothing."""
    kind = getattr(transformers, name)
    model, info = kind.from_pretrained(at, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    wrong = {k: sorted(info[k])[:4] for k in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(k)}
    if wrong:
        raise AssertionError(f"{wrong}")
    return model.eval()


def inputs_of(model, tensors):
    """The calls golden.safetensors holds: [(arguments, suffix of its outputs)]."""
    numbered = [k for k in tensors if k.startswith("in.input_ids.")]
    if numbered:
        return [({"input_ids": tensors[k][None]}, k[len("in.input_ids"):]) for k in sorted(numbered)]
    takes = inspect.signature(model.forward).parameters
    given = {k[3:]: v for k, v in tensors.items() if k.startswith("in.") and k[3:] in takes and k[3:] not in ("labels", "next_sentence_label")}
    rows = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "decoder_input_ids")
    given = {k: v[None] if k in rows and v.dim() == 1 else v for k, v in given.items()}
    return [(given, "")]


def outputs_of(model, tensors):
    """{name in golden.safetensors: value} of every out.* the model's answer has under that name."""
    seen = {}
    alias = {"logits": ("logits", "prediction_logits"), "seq_relationship": ("seq_relationship_logits",), "encoder_last_hidden_state": ("encoder_last_hidden_state",)}
    with torch.no_grad():
        for given, suffix in inputs_of(model, tensors):
            answer = model(**given)
            for key in tensors:
                if key.startswith("out.") and key.endswith(suffix):
                    bare = key[4:len(key) - len(suffix)] if suffix else key[4:]
                    for attribute in alias.get(bare, (bare,)):
                        if getattr(answer, attribute, None) is not None and torch.is_tensor(getattr(answer, attribute)):
                            value = getattr(answer, attribute)
                            rows = tensors[key].shape[-2] if tensors[key].dim() > 1 else None
                            if value.dim() == tensors[key].dim() + 1:
                                value = value[0]
                            seen[key] = value[-rows:] if value.dim() == 2 and rows and value.shape[0] > rows else value
    return seen


def difference(seen, wanted):
    """The largest difference beside the largest magnitude, over all outputs."""
    if not seen:
        raise AssertionError("none of its outputs is in golden.safetensors")
    worst = 0.0
    for key, value in seen.items():
        scale = wanted[key].abs().max().item() or 1.0
        worst = max(worst, (value - wanted[key]).abs().max().item() / scale)
    return worst


def within(worst, limit, what):
    if not worst <= limit:
        raise AssertionError(f"{what} differ by {worst:.2e} of the largest, {limit:.0e} allowed")
    return f"{worst:.1e}"


def as_it_is(source, about, tensors):
    with folder() as made:
        out = os.path.join(made, "model")
        nunchi("export", source, "--to", "hf", "--out", out)
        model = load(out, about["class"])
        seen = outputs_of(model, tensors)
        words = within(difference(seen, tensors), TOLERANCE, "outputs")
        for name in os.listdir(source):
            if not os.path.exists(os.path.join(out, name)):
                shutil.copy(os.path.join(source, name), out)
        nunchi("verify", out)
        return f"{len(seen)} outputs, {words}; verify of the written folder passes"


def in_bf16(source, about, tensors):
    with folder() as made:
        out = os.path.join(made, "model")
        nunchi("export", source, "--to", "hf", "--dtype", "bf16", "--out", out)
        rounded = load(source, about["class"])
        with torch.no_grad():
            for value in rounded.state_dict().values():
                if value.is_floating_point():
                    value.copy_(value.to(torch.bfloat16).float())
        return within(difference(outputs_of(load(out, about["class"]), tensors), outputs_of(rounded, tensors)), TOLERANCE, "outputs")


def through_gguf(source, about, tensors):
    with folder() as made:
        there, back = os.path.join(made, "gguf"), os.path.join(made, "back")
        nunchi("export", source, "--to", "gguf", "--dtype", "f32", "--out", there)
        nunchi("export", there, "--to", "hf", "--out", back)
        return within(difference(outputs_of(load(back, about["class"]), tensors), tensors), TOLERANCE, "outputs")


for family in sys.argv[2:] or all_golden():
    at = golden(family)
    if not at:
        print(f"skip  {family}: no such golden folder; NUNCHI_SHARED names the large tree")
        continue
    if family in LEFT_OUT:
        print(f"skip  {family}: {LEFT_OUT[family]}")
        continue
    with open(os.path.join(at, "golden.json")) as f:
        about = json.load(f)
    tensors = load_file(os.path.join(at, "golden.safetensors"))
    check(f"{family} to hf", as_it_is, at, about, tensors)
    check(f"{family} to hf in bf16", in_bf16, at, about, tensors)
    if family in THROUGH_GGUF:
        check(f"{family} to gguf and back", through_gguf, at, about, tensors)
finish()
