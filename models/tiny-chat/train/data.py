"""Tokenise seeded conversations into one flat array: ids, loss weights (0 outside answers) and lengths."""
import argparse, multiprocessing as mp
import numpy as np
from corpus import Generator
from tokenizer import Tokenizer

MAXLEN = 512
# Answers that need a skill get more weight than recited text; of a sum, only what follows the equals sign.
WEIGHT = {"arithmetic": 5, "arithmetic 50-99": 5, "numbers": 3, "spelling": 3, "reversing": 3, "upper-casing": 3, "letters": 3, "copying": 4, "memory": 2, "yes/no": 2, "follow-up": 2, "capitals": 2}


def render(tok, conv):
    sp = tok.special
    ids, mask = [sp["<|bos|>"]], [0]
    def add(xs, m):
        ids.extend(xs); mask.extend([m] * len(xs))
    if conv["system"]: add([sp["<|system|>"], *tok.encode(conv["system"].strip()), sp["<|end|>"]], 0)
    for ex in conv["turns"]:
        u = [sp["<|user|>"], *tok.encode(ex.q.strip()), sp["<|end|>"], sp["<|assistant|>"]]
        a = [*tok.encode(ex.a), sp["<|end|>"]]
        if len(ids) + len(u) + len(a) > MAXLEN: break
        w, cut = WEIGHT.get(ex.cat, 1), len(tok.encode(ex.a.split("=")[0])) + 1 if "=" in ex.a else 0
        if ex.cat == "system" and cut: w = 5
        add(u, 0); add(a[:cut], 1); add(a[cut:], w)
    return ids, mask


def part(args):
    split, seed, n, tokpath, focus = args
    tok, g = Tokenizer.load(tokpath), Generator(split, seed, focus)
    I, M, L = [], [], []
    for _ in range(n):
        i, m = render(tok, g.conversation())
        I += i; M += m; L.append(len(i))
    return np.array(I, np.uint16), np.array(M, np.uint8), np.array(L, np.int32)


def build(split, seed, n, tokpath, focus=False, procs=2, shard=4000):
    jobs = [(split, f"{seed}.{k}", min(shard, n - k * shard), tokpath, focus) for k in range((n + shard - 1) // shard)]
    with mp.Pool(procs) as pool: parts = pool.map(part, jobs, chunksize=1)
    ids, mask, lens = (np.concatenate([p[k] for p in parts]) for k in range(3))
    return ids, mask, lens


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--tokenizer", default="../tokenizer.json"); p.add_argument("--out", required=True); p.add_argument("--split", default="train"); p.add_argument("--seed", type=int, default=1); p.add_argument("-n", type=int, default=150000); p.add_argument("--focus", action="store_true", help="the mixture of the second stage")
    o = p.parse_args()
    ids, mask, lens = build(o.split, o.seed, o.n, o.tokenizer, o.focus)
    np.savez(o.out, ids=ids, mask=mask, lens=lens)
    print(f"{len(lens)} conversations, {len(ids)} tokens, {int((mask > 0).sum())} answer tokens, longest {lens.max()}, mean {lens.mean():.1f}")
