"""The tokenizers library's own figures, as a yardstick: python bench/peers/hf_tokenizers.py TEXT TOKENIZER...

A TOKENIZER is a tokenizer.json or a folder with one. Needs tokenizers from PyPI; the program itself never does. One thread. Prints one JSON line each, with the
names of `nunchi bench tokenizer --json`: one document of the whole text, the same line by line (encode, and encode_batch_fast, the faster counts), and loading.
"""
import json, os, sys, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer


def best(rounds, run):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def main(text_file, files):
    text = open(text_file, encoding="utf-8", newline="").read()
    size, lines = len(text.encode()), text.splitlines(keepends=True)
    for file in files:
        file = os.path.join(file, "tokenizer.json") if os.path.isdir(file) else file
        load, t = best(5, lambda: Tokenizer.from_file(file))
        t.no_truncation()
        t.no_padding()
        whole, ids = best(2, lambda: t.encode(text, add_special_tokens=False).ids)
        single, _ = best(1, lambda: [t.encode(line, add_special_tokens=False) for line in lines])
        batch, encodings = best(2, lambda: t.encode_batch_fast(lines, add_special_tokens=False))
        print(json.dumps({"tokenizer": file, "bytes": size, "load_seconds": round(load, 5), "mb_per_second": round(size / whole / 1e6, 3),
                          "tokens_per_second": round(len(ids) / whole), "tokens": len(ids), "lines_mb_per_second": round(size / min(single, batch) / 1e6, 3),
                          "lines_tokens": sum(len(e.ids) for e in encodings)}), flush=True)


main(sys.argv[1], sys.argv[2:])
