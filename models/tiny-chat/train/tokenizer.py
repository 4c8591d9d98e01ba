"""Byte-level BPE of haca-tiny-chat: trainer and reference encoder/decoder. Format and algorithm: ../README.md, section Tokenizer."""
import argparse, json, re
from collections import Counter

SPECIAL = ["<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
# On latin-1 text (one character per byte): an optional space and a run of letters or non-ASCII bytes, else one byte.
SPLIT = re.compile(r" ?[A-Za-z\x80-\xff]+|[\s\S]")


class Tokenizer:
    def __init__(self, spec):
        self.merges = [tuple(m) for m in spec["merges"]]
        self.rank = {p: i for i, p in enumerate(self.merges)}
        self.special = spec["special"]
        self.bytes = [bytes([i]) for i in range(256)]
        for a, b in self.merges: self.bytes.append(self.bytes[a] + self.bytes[b])
        self.vocab = spec["vocabSize"]
        self.cache = {}

    @classmethod
    def load(cls, path):
        with open(path) as f: return cls(json.load(f))

    def chunk(self, s):
        ids = list(s.encode("latin-1"))
        while len(ids) > 1:
            best = min(range(len(ids) - 1), key=lambda i: self.rank.get((ids[i], ids[i + 1]), 1 << 30))  # lowest rank, leftmost
            r = self.rank.get((ids[best], ids[best + 1]))
            if r is None: break
            ids[best:best + 2] = [256 + r]
        return ids

    def encode(self, text):
        out = []
        for s in SPLIT.findall(text.encode("utf-8").decode("latin-1")):
            ids = self.cache.get(s)
            if ids is None:
                ids = self.chunk(s)
                if len(self.cache) < 200000: self.cache[s] = ids
            out += ids
        return out

    def decode(self, ids):
        return b"".join(self.bytes[i] for i in ids if i < len(self.bytes)).decode("utf-8", "replace")

    def prompt(self, messages):
        """messages: [(role, text)] -> ids that end with <|assistant|>"""
        sp = self.special
        ids = [sp["<|bos|>"]]
        for role, text in messages:
            ids += [sp[f"<|{role}|>"], *self.encode(text.strip()), sp["<|end|>"]]
        return ids + [sp["<|assistant|>"]]


def train(texts, size):
    words = Counter()
    for t in texts: words.update(SPLIT.findall(t.encode("utf-8").decode("latin-1")))
    words = [(list(w.encode("latin-1")), n) for w, n in sorted(words.items()) if len(w) > 1]
    merges = []
    while 256 + len(merges) + len(SPECIAL) < size:
        pairs = Counter()
        for w, n in words:
            for p in zip(w, w[1:]): pairs[p] += n
        best = max(pairs, key=lambda p: (pairs[p], -p[0], -p[1]))
        new = 256 + len(merges)
        merges.append(list(best))
        for w, _ in words:
            i = 0
            while i < len(w) - 1:
                if (w[i], w[i + 1]) == best: w[i:i + 2] = [new]
                i += 1
    base = 256 + len(merges)
    return {"type": "haca-byte-bpe", "version": 1, "vocabSize": size, "split": " ?[A-Za-z\\x80-\\xff]+|[\\s\\S]",
            "special": {s: base + i for i, s in enumerate(SPECIAL)}, "merges": merges}


def save(spec, path):
    with open(path, "w") as f:
        head = {k: v for k, v in spec.items() if k != "merges"}
        f.write(json.dumps(head, indent=2)[:-2] + ',\n  "merges": [\n')
        m = spec["merges"]
        f.write(",\n".join("    " + ", ".join(json.dumps(p) for p in m[i:i + 12]) for i in range(0, len(m), 12)) + "\n  ]\n}\n")


if __name__ == "__main__":
    from corpus import Generator, KB
    p = argparse.ArgumentParser(description="train the tokenizer on a seeded sample of the corpus")
    p.add_argument("--out", default="../tokenizer.json"); p.add_argument("--size", type=int, default=1024); p.add_argument("--seed", type=int, default=7); p.add_argument("-n", type=int, default=12000)
    o = p.parse_args()
    g, texts = Generator("train", o.seed), []
    for _ in range(o.n):
        c = g.conversation()
        for t in ([c["system"]] if c["system"] else []) + [x for e in c["turns"] for x in (e.q, e.a)]:
            if t.upper() != t: texts.append(t)  # all-capitals text stays bytes, which makes spelling easy
    texts += [a for i in KB.values() for *_, a in i] * 4
    save(train(texts, o.size), o.out)
