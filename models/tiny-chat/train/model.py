"""Llama-like decoder: RMSNorm, rotary positions (interleaved pairs), SwiGLU, tied embedding, no biases."""
from dataclasses import dataclass, asdict
import torch, torch.nn as nn, torch.nn.functional as F


@dataclass
class Config:
    vocab: int = 1024
    dim: int = 192
    layers: int = 5
    heads: int = 6
    ffn: int = 512
    context: int = 512
    theta: float = 10000.0
    eps: float = 1e-5


def rope_tables(cfg):
    hd = cfg.dim // cfg.heads
    f = cfg.theta ** (-torch.arange(0, hd, 2, dtype=torch.float64) / hd)
    a = torch.outer(torch.arange(cfg.context, dtype=torch.float64), f)
    return a.cos().float(), a.sin().float()


def rope(x, cos, sin):  # x [B,H,T,hd]
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__(); self.weight = nn.Parameter(torch.ones(dim)); self.eps = eps
    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.n1, self.n2 = RMSNorm(c.dim, c.eps), RMSNorm(c.dim, c.eps)
        mk = lambda i, o: nn.Linear(i, o, bias=False)
        self.q, self.k, self.v, self.o = mk(c.dim, c.dim), mk(c.dim, c.dim), mk(c.dim, c.dim), mk(c.dim, c.dim)
        self.gate, self.up, self.down = mk(c.dim, c.ffn), mk(c.dim, c.ffn), mk(c.ffn, c.dim)
    def forward(self, x, cos, sin, mask):
        B, T, D = x.shape; H = self.c.heads
        h = self.n1(x)
        q, k, v = (w(h).view(B, T, H, -1).transpose(1, 2) for w in (self.q, self.k, self.v))
        q, k = rope(q, cos, sin) * (D // H) ** -0.5, rope(k, cos, sin)
        # Plain products: on a CPU their backward pass is several times faster than the fused attention kernel's.
        y = torch.softmax((q @ k.transpose(-1, -2)).masked_fill(mask, float("-inf")), -1, dtype=v.dtype) @ v
        x = x + self.o(y.transpose(1, 2).reshape(B, T, D))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.emb = nn.Embedding(c.vocab, c.dim)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.dim, c.eps)
        cos, sin = rope_tables(c)
        self.register_buffer("cos", cos, persistent=False); self.register_buffer("sin", sin, persistent=False)
        for p in self.parameters():
            if p.dim() == 2: nn.init.normal_(p, std=0.02 if p is self.emb.weight else p.shape[1] ** -0.5)
        for b in self.blocks:
            nn.init.zeros_(b.o.weight); nn.init.zeros_(b.down.weight)
    def hidden(self, ids):
        T = ids.shape[1]
        x = self.emb(ids)
        mask = torch.ones(T, T, dtype=torch.bool).triu(1)
        for b in self.blocks: x = b(x, self.cos[:T], self.sin[:T], mask)
        return self.norm(x)
    def forward(self, ids):
        return F.linear(self.hidden(ids), self.emb.weight)
