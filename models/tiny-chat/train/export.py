"""Write model.onnx: int8 weights (one scale per output column), float32 arithmetic, stacked key/value cache.

A weight W [in, out] is stored as int8 and a float32 scale per column; Cast and Mul restore it, and the runtime folds both
into a constant when it loads the file, so that a step costs the same as with float32 weights.
"""
import argparse
import numpy as np, onnx, torch
from onnx import TensorProto as TP, helper as h, numpy_helper as nh
from model import Config, rope_tables


def quantize(w, axis):
    """int8, symmetric, one scale per slice along `axis`"""
    s = np.maximum(np.abs(w).max(axis=1 - axis, keepdims=True), 1e-8) / 127
    return np.clip(np.rint(w / s), -127, 127).astype(np.int8), s.astype(np.float32)


def build(ckpt, int8=True):
    c = Config(**ckpt["config"]); sd = {k: v.numpy().astype(np.float32) for k, v in ckpt["state"].items()}
    L, H, hd, D = c.layers, c.heads, c.dim // c.heads, c.dim
    nodes, inits = [], []

    def const(name, a): inits.append(nh.from_array(np.ascontiguousarray(a), name)); return name
    def op(kind, ins, out, **kw): nodes.append(h.make_node(kind, ins, [out] if isinstance(out, str) else out, name=(out if isinstance(out, str) else out[0]) + "/" + kind, **kw)); return out
    def weight(name, w, axis):
        if not int8: return const(name, w)
        q, s = quantize(w, axis)
        const(name + "_q", q); const(name + "_s", s)
        op("Cast", [name + "_q"], name + "_c", to=TP.FLOAT)
        return op("Mul", [name + "_c", name + "_s"], name)
    i64 = lambda name, v: const(name, np.array(v, np.int64))
    i64("zero", 0); i64("one", 1); i64("i0", [0]); i64("i1", [1]); i64("split_heads", [1, -1, H, hd]); i64("merge_heads", [1, -1, D]); i64("pairs", [1, H, -1, hd // 2, 2]); i64("unpairs", [1, H, -1, hd])
    const("eps", np.array(c.eps, np.float32)); const("scale", np.array(hd ** -0.5, np.float32)); const("minus", np.array(-1e30, np.float32)); const("fzero", np.array(0, np.float32))
    cos, sin = rope_tables(c); const("cos", cos.numpy()[:, :, None]); const("sin", sin.numpy()[:, :, None])

    # positions of the new tokens, rotary tables, causal mask
    op("Shape", ["input_ids"], "ids_shape"); op("Gather", ["ids_shape", "one"], "n")
    op("Shape", ["past_k"], "past_shape"); i64("three", 3); op("Gather", ["past_shape", "three"], "past")
    op("Add", ["past", "n"], "total")
    op("Range", ["past", "total", "one"], "qpos"); op("Range", ["zero", "total", "one"], "kpos")
    op("Gather", ["cos", "qpos"], "cos_q"); op("Gather", ["sin", "qpos"], "sin_q")
    op("Unsqueeze", ["qpos", "i1"], "qcol"); op("Unsqueeze", ["kpos", "i0"], "krow")
    op("Greater", ["krow", "qcol"], "future"); op("Where", ["future", "minus", "fzero"], "mask")

    def norm(x, w, out):
        op("Mul", [x, x], out + "_sq"); op("ReduceMean", [out + "_sq"], out + "_ms", axes=[-1], keepdims=1)
        op("Add", [out + "_ms", "eps"], out + "_e"); op("Sqrt", [out + "_e"], out + "_r"); op("Div", [x, out + "_r"], out + "_n")
        return op("Mul", [out + "_n", const(out + "_w", w)], out)
    def rope(x, out):
        op("Reshape", [x, "pairs"], out + "_p"); op("Split", [out + "_p"], [out + "_a", out + "_b"], axis=4)
        op("Mul", [out + "_a", "cos_q"], out + "_ac"); op("Mul", [out + "_b", "sin_q"], out + "_bs"); op("Sub", [out + "_ac", out + "_bs"], out + "_x")
        op("Mul", [out + "_a", "sin_q"], out + "_as"); op("Mul", [out + "_b", "cos_q"], out + "_bc"); op("Add", [out + "_as", out + "_bc"], out + "_y")
        op("Concat", [out + "_x", out + "_y"], out + "_xy", axis=4)
        return op("Reshape", [out + "_xy", "unpairs"], out)

    weight("emb", sd["emb.weight"], 0)
    x = op("Gather", ["emb", "input_ids"], "x0")
    op("Split", ["past_k"], [f"pk{i}" for i in range(L)], axis=0); op("Split", ["past_v"], [f"pv{i}" for i in range(L)], axis=0)
    for i in range(L):
        b, t = f"blocks.{i}.", f"l{i}_"
        y = norm(x, sd[b + "n1.weight"], t + "n1")
        for w in "qkv":
            op("MatMul", [y, weight(t + "w" + w, sd[b + w + ".weight"].T, 1)], t + w + "f")
            op("Reshape", [t + w + "f", "split_heads"], t + w + "h"); op("Transpose", [t + w + "h"], t + w, perm=[0, 2, 1, 3])
        rope(t + "q", t + "qr"); rope(t + "k", t + "kr")
        op("Squeeze", [f"pk{i}", "i0"], t + "pk"); op("Squeeze", [f"pv{i}", "i0"], t + "pv")
        op("Concat", [t + "pk", t + "kr"], t + "K", axis=2); op("Concat", [t + "pv", t + "v"], t + "V", axis=2)
        op("Unsqueeze", [t + "K", "i0"], t + "Ku"); op("Unsqueeze", [t + "V", "i0"], t + "Vu")
        op("Mul", [t + "qr", "scale"], t + "qs"); op("Transpose", [t + "K"], t + "Kt", perm=[0, 1, 3, 2])
        op("MatMul", [t + "qs", t + "Kt"], t + "s"); op("Add", [t + "s", "mask"], t + "sm"); op("Softmax", [t + "sm"], t + "p", axis=-1)
        op("MatMul", [t + "p", t + "V"], t + "y"); op("Transpose", [t + "y"], t + "yt", perm=[0, 2, 1, 3]); op("Reshape", [t + "yt", "merge_heads"], t + "ym")
        op("MatMul", [t + "ym", weight(t + "wo", sd[b + "o.weight"].T, 1)], t + "o"); x = op("Add", [x, t + "o"], t + "x1")
        y = norm(x, sd[b + "n2.weight"], t + "n2")
        op("MatMul", [y, weight(t + "wg", sd[b + "gate.weight"].T, 1)], t + "g"); op("MatMul", [y, weight(t + "wu", sd[b + "up.weight"].T, 1)], t + "u")
        op("Sigmoid", [t + "g"], t + "gs"); op("Mul", [t + "g", t + "gs"], t + "gg"); op("Mul", [t + "gg", t + "u"], t + "gu")
        op("MatMul", [t + "gu", weight(t + "wd", sd[b + "down.weight"].T, 1)], t + "d"); x = op("Add", [x, t + "d"], t + "x2")
    y = norm(x, sd["norm.weight"], "nf")
    op("Transpose", ["emb"], "emb_t", perm=[1, 0]); op("MatMul", [y, "emb_t"], "logits")
    op("Concat", [f"l{i}_Ku" for i in range(L)], "present_k", axis=0); op("Concat", [f"l{i}_Vu" for i in range(L)], "present_v", axis=0)

    f = lambda n, s: h.make_tensor_value_info(n, TP.FLOAT, s)
    graph = h.make_graph(nodes, "haca-tiny-chat",
                         [h.make_tensor_value_info("input_ids", TP.INT64, [1, "n"]), f("past_k", [L, 1, H, "past", hd]), f("past_v", [L, 1, H, "past", hd])],
                         [f("logits", [1, "n", c.vocab]), f("present_k", [L, 1, H, "total", hd]), f("present_v", [L, 1, H, "total", hd])], inits)
    m = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], producer_name="haca-tiny-chat", ir_version=8)
    h.set_model_props(m, {"name": "haca-tiny-chat", "license": "Apache-2.0", "context": str(c.context)})
    onnx.checker.check_model(m, full_check=True)
    return m


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--checkpoint", required=True); p.add_argument("--out", default="../model.onnx"); p.add_argument("--float32", action="store_true")
    o = p.parse_args()
    m = build(torch.load(o.checkpoint, weights_only=False), not o.float32)
    onnx.save(m, o.out)
    print(o.out, len(m.SerializeToString()), "bytes")
