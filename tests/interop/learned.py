"""Tokenizers that `nunchi data tokenizer` learns load in tokenizers and transformers, and cut mixed text into the ids that this program cuts it into."""
import json
import os

from checks import ROOT, check, finish, folder, nunchi

import tokenizers
import transformers

LINES = ["작은 배 한 척이 바다로 간다.", "The quick brown fox, it's 12,345 steps!", "  두 칸 띄운   문장\t탭", "café naïve Ελλάδα Привет 日本語 中文字", "🚀🌫️ 이모지 ✅", "a_b-c/d\\e (f) [g] {h}",
         "해가 지고 파도가 잔잔하다", "don't won't I'M WE'LL", "x" * 40, "1 22 333 4444 55555", "ｆｕｌｌ　ｗｉｄｔｈ", "e\u0301 \u1100\u1161\u11a8", ""]


def corpus(made):
    """The repository's own pages and some lines of Korean: none of LINES is in it."""
    at = os.path.join(made, "corpus.txt")
    with open(at, "w") as f:
        for page in ["README.md", *(os.path.join("docs", name) for name in sorted(os.listdir(os.path.join(ROOT, "docs"))) if name.endswith(".md"))]:
            with open(os.path.join(ROOT, page)) as text:
                f.write(text.read())
        f.write("\n".join(f"배가 {where}로 가고 {what}이 온다, 작은 {what}과 큰 {where}" for where in ("바다", "산", "해변", "파도") for what in ("눈", "바람", "별")) + "\n")
    return at


def learned(model):
    with folder() as made:
        out = os.path.join(made, "tokenizers", model)
        nunchi("data", "tokenizer", corpus(made), "--model", model, "--vocab-size", "600", "--out", out)
        library = tokenizers.Tokenizer.from_file(os.path.join(out, "tokenizer.json"))
        fast = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(out, "tokenizer.json"))
        count = 0
        with open(os.path.join(out, "cases.jsonl"), "w") as f:
            for line in LINES:
                plain, whole = library.encode(line, add_special_tokens=False), library.encode(line)
                if fast.encode(line, add_special_tokens=False) != plain.ids:
                    raise AssertionError(f"{line!r}: transformers and tokenizers differ")
                count += len(plain.ids)
                f.write(json.dumps({"text": line, "ids": plain.ids, "ids_special": whole.ids, "tokens": plain.tokens, "offsets": plain.offsets,
                                    "decoded": library.decode(plain.ids, skip_special_tokens=False), "decoded_skip_special": library.decode(whole.ids)}) + "\n")
        with open(os.path.join(out, "golden.json"), "w") as f:
            json.dump({"library": f"tokenizers {tokenizers.__version__}", "cases": len(LINES), "kind": model}, f)
        said = nunchi("golden", made).strip().splitlines()
        if not said[-1].startswith("1 passed, 0 failed"):
            raise AssertionError(said[-2:])
        return f"{library.get_vocab_size()} tokens; ids, offsets and text of {len(LINES)} texts, {count} ids"


for model in ("bpe", "wordpiece", "unigram", "wordlevel"):
    check(f"a learned {model} tokenizer", learned, model)
finish()
