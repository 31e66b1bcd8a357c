"""A folder of sentence-transformers that `nunchi export` wrote loads there, and gives the vectors that `nunchi embed` gives on either side."""
import json
import os
import sys

from checks import check, finish, folder, golden, nunchi

try:
    import numpy
    from sentence_transformers import SentenceTransformer, models
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

LINES = ["작은 배가 바다로 간다", "a small boat leaves the harbour", "눈 오는 산", "", "the the the", "x y z " * 20]


def made_folder(made, pooling, normalize):
    """A BERT of golden/models with a WordPiece vocabulary learned for it, as sentence-transformers saves it."""
    source, bert, text = golden("bert_classify") or golden("bert"), os.path.join(made, "bert"), os.path.join(made, "corpus.txt")
    nunchi("export", source, "--to", "hf", "--out", bert)
    with open(text, "w") as f:
        f.write("\n".join(LINES * 30))
    nunchi("data", "tokenizer", text, "--model", "wordpiece", "--vocab-size", "150", "--out", bert)
    with open(os.path.join(bert, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]",
                   "model_max_length": 40}, f)
    word = models.Transformer(bert, max_seq_length=24)
    parts = [word, models.Pooling(word.get_word_embedding_dimension() if hasattr(word, "get_word_embedding_dimension") else word.get_embedding_dimension(), pooling_mode=pooling)]
    saved = os.path.join(made, "saved")
    SentenceTransformer(modules=parts + [models.Normalize()] * normalize, device="cpu").save(saved)
    return saved


def vectors(at):
    rows = [json.loads(line)["embedding"] for line in nunchi("embed", at, text="\n".join(LINES) + "\n").splitlines()]
    return numpy.array(rows, dtype=numpy.float32)


def worst(a, b):
    return float(abs(a - b).max() / abs(b).max())


def same_vectors(pooling, normalize):
    with folder() as made:
        saved, out = made_folder(made, pooling, normalize), os.path.join(made, "out")
        nunchi("export", saved, "--to", "hf", "--out", out)
        ours, theirs, before = vectors(out), SentenceTransformer(out, device="cpu").encode(LINES, convert_to_numpy=True), SentenceTransformer(saved, device="cpu").encode(LINES, convert_to_numpy=True)
        seen = [worst(theirs, before), worst(ours, before), worst(vectors(saved), before)]
        if max(seen) > 2e-5:
            raise AssertionError(f"{seen} of the largest, 2e-5 allowed")
        return f"{ours.shape[0]} vectors of {ours.shape[1]}: the written folder there {seen[0]:.1e}, here {seen[1]:.1e}"


for pooling in ("mean", "cls", "max"):
    check(f"sentence-transformers, {pooling}", same_vectors, pooling, False)
check("sentence-transformers, mean, normalized", same_vectors, "mean", True)
finish()
