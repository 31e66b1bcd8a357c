"""PyTorch's own figures for the shapes of bench/configs, as a yardstick: python bench/peers/torch_models.py train|vision [--dtype bf16|f32].

Needs torch from PyPI; the program itself never does. Prints one JSON line. Threads: all this process may use.
"""
import argparse, json, os, time
import torch, torch.nn as nn, torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, width=768, heads=12, layers=12, vocab=50257, positions=1024):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads, True) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for b in self.blocks:
            x = b(x)
        return F.linear(self.ln_f(x), self.wte.weight)


class ViT(nn.Module):
    def __init__(self, width=1024, heads=16, layers=24, patch=14, size=336):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch, bias=False)
        self.pos = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width) * 0.02)
        self.cls = nn.Parameter(torch.randn(width) * 0.02)
        self.pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, False) for _ in range(layers))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.to(x.dtype).expand(x.shape[0], 1, -1), x], 1) + self.pos.to(x.dtype)
        x = self.pre(x)
        for b in self.blocks:
            x = b(x)
        return x


def train(dtype, batch=4, tokens=256, steps=6):
    model = GPT2()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(0, 50257, (batch, tokens + 1))
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            logits = model(ids[:, :-1])
            loss = F.cross_entropy(logits.reshape(-1, 50257).float(), ids[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return {"tokens_per_second": batch * tokens / sorted(times[1:])[len(times[1:]) // 2]}


def vision(dtype, steps=6):
    t = torch.bfloat16 if dtype == "bf16" else torch.float32
    model, x = ViT().to(t).eval(), torch.randn(1, 3, 336, 336, dtype=t)
    times = []
    with torch.no_grad():
        for _ in range(steps):
            start = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - start)
    return {"images_per_second": 1 / sorted(times[1:])[len(times[1:]) // 2]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "vision"])
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f32"])
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    result = {"train": train, "vision": vision}[args.what](args.dtype)
    print(json.dumps({"peer": "torch " + torch.__version__, "what": args.what, "dtype": args.dtype, "threads": torch.get_num_threads(), **result}))
