"""Train haca-tiny-chat. Loss only on the assistant's tokens, weighted as data.py says. Muon for the matrices of the blocks, AdamW for the rest."""
import argparse, json, time
from dataclasses import asdict
import numpy as np, torch, torch.nn.functional as F
from model import Config, Model


def batches(lens, starts, tokens, seed):
    """length-sorted batches of about `tokens` tokens (with padding), in random order"""
    r = np.random.default_rng(seed)
    order = r.permutation(len(lens))
    pool = 6000
    for p in range(0, len(order), pool):
        o = order[p:p + pool]
        o = o[np.argsort(lens[o], kind="stable")]
        out, cur = [], []
        for i in o:
            if (len(cur) + 1) * lens[i] > tokens and cur: out.append(cur); cur = []
            cur.append(i)
        if len(cur) > 8: out.append(cur)
        for k in r.permutation(len(out)): yield out[k]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--data", required=True); p.add_argument("--valid", required=True); p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=1500); p.add_argument("--tokens", type=int, default=8192); p.add_argument("--seed", type=int, default=1)
    p.add_argument("--lr", type=float, default=0.02); p.add_argument("--lr-adam", type=float, default=3e-3); p.add_argument("--threads", type=int, default=2)
    p.add_argument("--layers", type=int, default=5); p.add_argument("--dim", type=int, default=192); p.add_argument("--ffn", type=int, default=512)
    p.add_argument("--save-every", type=int, default=300); p.add_argument("--compile", action="store_true"); p.add_argument("--decay", type=float, default=0.5)
    p.add_argument("--init", help="checkpoint to continue from")
    p.add_argument("--max-seconds", type=float, default=1e9, help="finish the learning-rate schedule by this time if the steps take longer")
    o = p.parse_args()
    torch.manual_seed(o.seed); torch.set_num_threads(o.threads)
    cfg = Config(dim=o.dim, layers=o.layers, heads=o.dim // 32, ffn=o.ffn)
    model = Model(cfg)
    if o.init: model.load_state_dict(torch.load(o.init, weights_only=False)["state"])
    mats = [w for n, w in model.blocks.named_parameters() if w.dim() == 2]
    rest = [w for w in model.parameters() if not any(w is m for m in mats)]
    opts = [torch.optim.Muon(mats, lr=o.lr, momentum=0.95, weight_decay=0.01, ns_steps=5), torch.optim.AdamW(rest, lr=o.lr_adam, betas=(0.9, 0.95), weight_decay=0.0)]
    base = [o.lr, o.lr_adam]
    def load(path):
        z = np.load(path); lens = z["lens"]; return z["ids"], z["mask"], lens, np.concatenate([[0], np.cumsum(lens)[:-1]])
    D, V = load(o.data), load(o.valid)
    print(f"{sum(w.numel() for w in model.parameters())} parameters, {len(D[2])} conversations, {len(D[0])} tokens", flush=True)

    def make(S, idx):
        ids, mask, lens, starts = S
        T = int(lens[idx].max()) - 1
        x = np.zeros((len(idx), T), np.int64); y = np.zeros((len(idx), T), np.int64); m = np.zeros((len(idx), T), np.float32)
        for k, i in enumerate(idx):
            s, n = starts[i], lens[i]
            x[k, :n - 1] = ids[s:s + n - 1]; y[k, :n - 1] = ids[s + 1:s + n]; m[k, :n - 1] = mask[s + 1:s + n]
        return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(m)

    hidden = torch.compile(model.hidden, dynamic=True) if o.compile else model.hidden
    def loss_of(b):
        x, y, m = b
        with torch.autocast("cpu", torch.bfloat16):
            h = hidden(x)
            on = m > 0
            logits = F.linear(h[on], model.emb.weight)
        w = m[on]
        return (F.cross_entropy(logits.float(), y[on], reduction="none") * w).sum() / w.sum(), float(w.sum())

    def valid():
        model.eval(); tot = n = 0
        with torch.no_grad():
            for idx in batches(V[2], V[3], 8192, 0):
                l, k = loss_of(make(V, idx)); tot += l.item() * k; n += k
        model.train(); return tot / n

    def save(step):
        torch.save({"config": asdict(cfg), "state": model.state_dict(), "step": step, "args": vars(o)}, o.out)

    step, updates, epoch, seen, t0, log, acc = 0, 0, 0, 0, time.time(), [], []
    while step < o.steps:
        for idx in batches(D[2], D[3], o.tokens, o.seed + epoch):
            done = max(step / o.steps, (time.time() - t0) / o.max_seconds)  # share of the schedule that is over
            if done >= 1: step = o.steps
            f = min(1, (step + 1) / 40) * min(1.0, max(0.0, (1 - done) / o.decay))
            for opt, lr in zip(opts, base):
                for g in opt.param_groups: g["lr"] = lr * f
            b = make(D, idx)
            l, _ = loss_of(b)
            l.backward()
            torch.nn.utils.clip_grad_norm_(rest, 1.0)
            for opt in opts: opt.step(); opt.zero_grad(set_to_none=True)
            acc.append(l.item()); seen += int(D[2][idx].sum()); step += 1 if done < 1 else 0; updates += 1
            if step % 20 == 0:
                print(f"step {step} loss {np.mean(acc[-20:]):.4f} tok/s {seen / (time.time() - t0):.0f} t {time.time() - t0:.0f}s", flush=True)
            if step % o.save_every == 0 or step == o.steps:
                v = valid(); save(step)
                log.append({"step": updates, "tokens": seen, "train": round(float(np.mean(acc[-100:])), 4), "heldOut": round(v, 4), "seconds": round(time.time() - t0)})
                print("   ", json.dumps(log[-1]), flush=True)
                json.dump(log, open(o.out + ".log.json", "w"), indent=1)
            if step >= o.steps: break
        epoch += 1


if __name__ == "__main__":
    main()
