"""A LoRA adapter that `nunchi train` wrote loads in PEFT, and the base with it computes what the merged model beside it computes."""
import json
import os

from checks import check, finish, folder, golden, nunchi

import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def model_of(at):
    return transformers.AutoModelForCausalLM.from_pretrained(at, dtype=torch.float32, attn_implementation="eager").eval()


def trained(source, target):
    with folder() as made:
        with open(os.path.join(made, "d.json"), "w") as f:
            json.dump([{"instruction": f"작은 배 {i}", "input": "", "output": "바다로 간다."} for i in range(8)], f)
        with open(os.path.join(made, "dataset_info.json"), "w") as f:
            json.dump({"d": {"file_name": "d.json"}}, f)
        recipe, run, merged = (os.path.join(made, name) for name in ("r.yaml", "run", "merged"))
        with open(recipe, "w") as f:
            f.write(f"model_name_or_path: {source}\nstage: sft\nfinetuning_type: lora\nlora_target: {target}\nlora_rank: 4\ndataset: d\ndataset_dir: {made}\n"
                    f"output_dir: {run}\nmax_steps: 2\nper_device_train_batch_size: 2\nlearning_rate: 1.0e-2\n")
        nunchi("train", recipe)
        adapter = os.path.join(run, "adapter")
        nunchi("export", source, "--to", "hf", "--adapter", adapter, "--out", merged)
        ids = load_file(os.path.join(source, "golden.safetensors"))["in.input_ids.2"][None]
        base = model_of(source)
        with torch.no_grad():
            before = base(ids).logits
            tuned = PeftModel.from_pretrained(base, adapter).eval()
            written = load_file(os.path.join(adapter, "adapter_model.safetensors"))
            held = [name for name in tuned.state_dict() if ".lora_" in name]
            if len(held) != len(written):
                raise AssertionError(f"PEFT holds {len(held)} tensors of the adapter, the file {len(written)}")
            with_adapter, whole = tuned(ids).logits, model_of(merged)(ids).logits
        scale = with_adapter.abs().max().item()
        moved, worst = (with_adapter - before).abs().max().item() / scale, (with_adapter - whole).abs().max().item() / scale
        if moved < 1e-4 or worst > 2e-5:
            raise AssertionError(f"the adapter moves the logits by {moved:.1e}, PEFT and the merged folder differ by {worst:.1e}")
        return f"{len(written)} tensors; logits moved by {moved:.1e}, PEFT and the merged folder differ by {worst:.1e}"


for family, target in (("llama3", "all"), ("qwen3", "q_proj,v_proj"), ("llama", "all"), ("gpt2", "c_attn")):
    check(f"adapter on {family} ({target})", trained, golden(family), target)
finish()
