"""Evaluate a model folder (model.onnx, tokenizer.json) on held-out items, on wordings seen in training, and on the demo prompts."""
import argparse, hashlib, json, math, re
from collections import defaultdict
import numpy as np
from corpus import Generator, JOKES
from data import render
from engine import Engine

DEMO_PROMPTS = ["What is HACA?", "Why is the sky blue?", "Hello!", "What does a full node do?", "What is the capital of France?", "What is 17 + 25?", "Tell me a short story", "Who are you?"]
UNSEEN_PROMPTS = ["so what's that HACA thing?", "could you say in simple words what a full node is doing", "do i have to trust the node that answers me?", "which city is the capital city of Japan", "how is OPG burnt?", "please explain receipts", "what's 8+13?", "58 - 29",
                  "how do you spell cloud?", "write proof in capital letters", "i'd like a story about a little fox", "Why does it rain?", "is a carrot a fruit?", "what are you able to do?", "Who won the world cup in 1998?", "what is the capital of Wakanda?", "What is a zero-knowledge proof?", "how much is 4821 * 338",
                  "what color do red and blue make", "count from 3 to 8"]
CHATS = [[("user", "Hi, my name is Olivia."), ("user", "What is a voucher?"), ("user", "And what is 9 + 4?"), ("user", "What is my name?")],
         [("system", "You are a helpful assistant."), ("user", "What is the capital of Italy?"), ("user", "and of Norway?"), ("user", "thanks!")],
         [("system", "Your name is Bolt."), ("user", "Who are you?"), ("user", "What is a receipt?")],
         [("system", "Answer in upper case."), ("user", "What does a cat say?")],
         [("system", "Talk like a pirate."), ("user", "What is finality?")]]


def words(s): return [w for w in re.findall(r"[a-z0-9]+", s.lower()) if len(w) > 3 or w.isdigit()]


def score(ex, got):
    exact = got.strip() == ex.a.strip()
    if ex.cat == "jokes": return exact, got in JOKES
    if ex.cat == "stories":
        if "\n" in ex.a: ok = exact or (got.count("\n") == 3 and ("about" not in ex.q or exact))
        else:
            m = re.search(r"about (?:an? )?(?:[a-z]+ )?([a-z]+)", ex.q.lower())
            ok = got.startswith("Once upon a time") and got.rstrip().endswith(".") and got.count(".") >= 4 and (not m or m.group(1) in got)
        return exact, ok
    ref = words(ex.a) or re.findall(r"\S+", ex.a.lower())
    g = set(words(got)) if words(ex.a) else set(re.findall(r"\S+", got.lower()))
    if ex.cat in ("arithmetic", "arithmetic 50-99", "numbers", "counting", "spelling", "reversing", "upper-casing", "letters", "yes/no", "copying"): return exact, exact
    return exact, sum(w in g for w in ref) >= 0.7 * len(ref)


def accuracy(e, split, seed, per):
    g = Generator(split, seed)
    need, res = defaultdict(int), defaultdict(lambda: [0, 0, 0]); wrong = []
    tries = 0
    while tries < 6000:
        tries += 1
        c = g.conversation()
        if all(res[x.cat][0] >= per for x in c["turns"]): continue
        msgs = [("system", c["system"])] if c["system"] else []
        for ex in c["turns"]:
            msgs.append(("user", ex.q))
            if res[ex.cat][0] < per:
                ids = e.tok.prompt(msgs)
                if len(ids) > 400: break
                out = e.tok.decode(e.greedy(ids, 110)); r = score(ex, out)
                z = res[ex.cat]; z[0] += 1; z[1] += r[0]; z[2] += r[1]
                if not r[1]: wrong.append((ex.cat, c["system"], ex.q, ex.a, out))
            msgs.append(("assistant", ex.a))
    return {k: {"n": v[0], "exact": round(v[1] / v[0], 3), "keyword": round(v[2] / v[0], 3)} for k, v in sorted(res.items())}, wrong


def perplexity(e, split, seed, n):
    g, tot, cnt = Generator(split, seed), 0.0, 0
    for _ in range(n):
        ids, mask = render(e.tok, g.conversation())
        lo, _ = e.step(ids[:-1]); lo = lo.astype(np.float64)
        lp = lo - np.log(np.exp(lo - lo.max(1, keepdims=True)).sum(1, keepdims=True)) - lo.max(1, keepdims=True)
        for t in range(len(ids) - 1):
            if mask[t + 1]: tot -= lp[t, ids[t + 1]]; cnt += 1
    return {"conversations": n, "answerTokens": cnt, "perplexity": round(math.exp(tot / cnt), 4)}


def cache_check(e):
    ids = e.tok.prompt([("system", "Be brief."), ("user", "What does a full node do?")]); ids += e.greedy(ids)
    full, _ = e.step(ids); worst = 0.0
    for cut in (1, 7, len(ids) - 3):
        lo, cache = e.step(ids[:cut]); rows = [lo]
        for t in ids[cut:]: lo, cache = e.step([t], cache); rows.append(lo)
        worst = max(worst, float(np.abs(np.concatenate(rows) - full).max()))
    runs = {hashlib.sha256(json.dumps([e.greedy(e.tok.prompt([("user", q)])) for q in DEMO_PROMPTS]).encode()).hexdigest() for _ in range(5)}
    return {"maxAbsLogitDifference": worst, "repeatedRuns": 5, "distinctGreedyOutputs": len(runs)}


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--folder", default=".."); p.add_argument("--per", type=int, default=60); p.add_argument("--out"); p.add_argument("--wrong", type=int, default=0); p.add_argument("--quick", action="store_true")
    o = p.parse_args()
    e = Engine(o.folder)
    r = {"cache": cache_check(e), "transcripts": [[["user", q], ["assistant", e.generate([("user", q)])]] for q in DEMO_PROMPTS],
         "otherPrompts": [[["user", q], ["assistant", e.generate([("user", q)])]] for q in UNSEEN_PROMPTS], "chats": []}
    for chat in CHATS:
        msgs = []
        for role, t in chat:
            msgs.append((role, t))
            if role == "user": msgs.append(("assistant", e.generate(msgs)))
        r["chats"].append(msgs)
    print(json.dumps(r["cache"]))
    for t in r["transcripts"] + r["otherPrompts"]: print("Q:", t[0][1], "\nA:", t[1][1])
    for t in r["chats"]: print(*[f"{a}: {b}" for a, b in t], "", sep="\n")
    if not o.quick:
        r["heldOut"], wrong = accuracy(e, "eval", 11, o.per)
        r["seen"], _ = accuracy(e, "train", 12, o.per // 2)
        r["perplexityHeldOut"] = perplexity(e, "eval", 13, 300)
        for k, v in r["heldOut"].items(): print(f"{k:14s} held-out {v['n']:4d} exact {v['exact']:.3f} keyword {v['keyword']:.3f} | seen exact {r['seen'].get(k, {}).get('exact')}")
        print(r["perplexityHeldOut"])
        for w in wrong[:o.wrong]: print(w)
    if o.out: json.dump(r, open(o.out, "w"), indent=1, ensure_ascii=False)
