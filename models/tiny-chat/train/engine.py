"""Minimal greedy runner on onnxruntime: what a host of the model has to do."""
import numpy as np, onnxruntime as ort
from tokenizer import Tokenizer


class Engine:
    def __init__(self, folder, threads=1):
        so = ort.SessionOptions(); so.intra_op_num_threads = threads; so.log_severity_level = 3
        self.tok = Tokenizer.load(f"{folder}/tokenizer.json")
        self.s = ort.InferenceSession(f"{folder}/model.onnx", so, providers=["CPUExecutionProvider"])
        L, _, H, _, d = self.s.get_inputs()[1].shape
        self.empty = np.zeros((L, 1, H, 0, d), np.float32)

    def step(self, ids, cache=None):
        k, v = cache or (self.empty, self.empty)
        logits, k, v = self.s.run(None, {"input_ids": np.array([ids], np.int64), "past_k": k, "past_v": v})
        return logits[0], (k, v)

    def generate(self, messages, limit=120):
        ids = self.tok.prompt(messages)
        return self.tok.decode(self.greedy(ids, limit))

    def greedy(self, ids, limit=120):
        end, out, cache = self.tok.special["<|end|>"], [], None
        while len(out) < limit:
            logits, cache = self.step(ids, cache)
            t = int(logits[-1].argmax())
            if t == end: break
            out.append(t); ids = [t]
        return out
