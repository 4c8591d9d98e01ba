"""Write manifest.json, and the results part of README.md, from a checkpoint, its log, its evaluation and the files of the folder."""
import argparse, hashlib, json, platform
from datetime import date
from pathlib import Path
import numpy, onnx, onnxruntime, torch

if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--folder", default=".."); p.add_argument("--checkpoint", required=True); p.add_argument("--stage1", required=True); p.add_argument("--eval", required=True)
    p.add_argument("--node", help="JSON with timings measured in Node"); p.add_argument("--date", default=str(date.today()))
    o = p.parse_args()
    d, ck, ev, log = Path(o.folder), torch.load(o.checkpoint, weights_only=False), json.load(open(o.eval)), json.load(open(o.checkpoint + ".log.json"))
    first, a1 = json.load(open(o.stage1 + ".log.json")), torch.load(o.stage1, weights_only=False)["args"]
    log = [{"stage": 1, **x} for x in first] + [{"stage": 2, **x, **{k: x[k] + first[-1][k] for k in ("step", "tokens", "seconds")}} for x in log]
    c, a = ck["config"], ck["args"]
    tok = json.load(open(d / "tokenizer.json"))
    hd, L, H = c["dim"] // c["heads"], c["layers"], c["heads"]
    files = {n: {"bytes": (d / n).stat().st_size, "sha256": hashlib.sha256((d / n).read_bytes()).hexdigest()} for n in ("model.onnx", "tokenizer.json", "tokenizer-vectors.json")}
    m = {
        "name": "haca-tiny-chat", "version": "1.0.0", "task": "chat", "license": "Apache-2.0", "language": "en", "trained": o.date,
        "files": files,
        "architecture": {"type": "llama-like decoder", "parameters": sum(v.numel() for v in ck["state"].values()), "layers": L, "dim": c["dim"], "heads": H, "kvHeads": H, "headDim": hd, "ffn": c["ffn"], "vocab": c["vocab"], "norm": "RMSNorm", "normEps": c["eps"], "activation": "SwiGLU",
                         "positions": "RoPE, interleaved pairs", "ropeTheta": c["theta"], "tiedEmbedding": True, "weights": "int8, one float32 scale per output column (embedding: per row)", "arithmetic": "float32"},
        "context": {"tokens": c["context"], "note": "past + new tokens must not exceed this; training used conversations of up to 512 tokens"},
        "onnx": {"opset": 17, "irVersion": 8,
                 "inputs": {"input_ids": {"type": "int64", "shape": [1, "n"]}, "past_k": {"type": "float32", "shape": [L, 1, H, "past", hd]}, "past_v": {"type": "float32", "shape": [L, 1, H, "past", hd]}},
                 "outputs": {"logits": {"type": "float32", "shape": [1, "n", c["vocab"]]}, "present_k": {"type": "float32", "shape": [L, 1, H, "past+n", hd]}, "present_v": {"type": "float32", "shape": [L, 1, H, "past+n", hd]}},
                 "firstStep": "past_k and past_v with past = 0 (no elements)", "nextSteps": "feed present_k and present_v of the step before, and only the new ids"},
        "tokenizer": {"type": tok["type"], "version": tok["version"], "special": tok["special"]},
        "chatTemplate": {
            "tokens": ["<|bos|>", "[<|system|> text <|end|>]", "(<|user|> text <|end|> <|assistant|> text <|end|>)*", "<|user|> text <|end|>", "<|assistant|>"],
            "rules": ["text is trimmed of leading and trailing white space and encoded by itself; nothing stands between the tokens", "at most one system message, first", "the model writes its answer after <|assistant|> and ends it with <|end|>", "stop token: <|end|>; text never yields a special token"],
            "stop": tok["special"]["<|end|>"]},
        "sampling": {"default": "greedy", "temperature": 0, "note": "stories and jokes vary with temperature 0.7 to 1.0; facts are best at 0"},
        "training": {"stages": 2, "seeds": [a1["seed"], a["seed"]], "updates": log[-1]["step"], "tokens": log[-1]["tokens"], "seconds": log[-1]["seconds"], "tokensPerUpdate": a["tokens"], "optimizer": "Muon (block matrices), AdamW (rest)", "learningRates": [a["lr"], a["lr_adam"]], "threads": a["threads"], "loss": "cross entropy on assistant tokens", "precision": "bfloat16 products, float32 weights",
                     "libraries": {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}, "log": log},
        "evaluation": {"heldOut": ev["heldOut"], "seen": ev["seen"], "perplexityHeldOut": ev["perplexityHeldOut"], "cacheVersusFull": ev["cache"]},
    }
    if o.node: m["measuredInNode"] = json.load(open(o.node))
    (d / "manifest.json").write_text(json.dumps(m, indent=2, ensure_ascii=False) + "\n")

    out = ["| category | held-out n | exact | keyword | seen wordings, exact |", "| --- | --- | --- | --- | --- |"]
    for k, v in ev["heldOut"].items(): out.append(f"| {k} | {v['n']} | {v['exact']:.0%} | {v['keyword']:.0%} | {ev['seen'][k]['exact']:.0%} |" if k in ev["seen"] else f"| {k} | {v['n']} | {v['exact']:.0%} | {v['keyword']:.0%} | - |")
    pp = ev["perplexityHeldOut"]
    out += ["", f"Held-out perplexity on {pp['answerTokens']} assistant tokens of {pp['conversations']} conversations: **{pp['perplexity']:.3f}**.", "",
            f"Cached against full decoding: largest logit difference {ev['cache']['maxAbsLogitDifference']:.1e}. Greedy output of {ev['cache']['repeatedRuns']} runs: {ev['cache']['distinctGreedyOutputs']} distinct.", ""]
    out += ["### Loss", "", "| stage | update | tokens | train | held-out | seconds |", "| --- | --- | --- | --- | --- | --- |"] + [f"| {x['stage']} | {x['step']} | {x['tokens'] / 1e6:.1f} M | {x['train']:.3f} | {x['heldOut']:.3f} | {x['seconds']} |" for x in log]
    out += ["", "Loss is in nats per assistant token, weighted as in `train/data.py`. Seconds count from the start and include compiling and validation, on two cores. The loss can't reach 0: stories, poems and jokes are drawn at random.", "", "### Transcripts", "", "Greedy output of the shipped file, right or wrong. First the prompts of the demo (they are in the training set), then free prompts, then chats.", "", "```text"]
    for t in ev["transcripts"] + ev["otherPrompts"]: out += [f"> {t[0][1]}", t[1][1]]
    for t in ev["chats"]: out += ["", *[(f"> {b}" if r == "user" else f"[system: {b}]" if r == "system" else b) for r, b in t]]
    out.append("```")
    r = d / "README.md"
    if r.exists():
        s = r.read_text(); head, _, rest = s.partition("<!-- results -->"); _, _, tail = rest.partition("<!-- /results -->")
        r.write_text(head + "<!-- results -->\n" + "\n".join(out) + "\n<!-- /results -->" + tail)
    print(json.dumps(files, indent=1))
