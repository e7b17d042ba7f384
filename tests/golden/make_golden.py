#!/usr/bin/env python3
"""Reference training runs in PyTorch: ten steps of each model, for the C++ parity tests.

Written for clarity, from the papers and the formulas alone: the scan is a plain product in a loop,
gradients are PyTorch's autograd, everything is float64 on the CPU.
Needs torch, numpy and safetensors. Usage: python3 make_golden.py [output folder]
"""
import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

STEPS, BATCH, CONTEXT, VOCAB = 10, 3, 13, 11
TRAINING = {
    "optimizer": "adamw", "steps": STEPS, "batch": BATCH,
    "lr": 1e-3, "betas": [0.9, 0.99], "eps": 1e-8, "dropout": 0.0,
}
MODELS = {
    "mru_identity": {"width": 24, "heads": 2, "layers": ["mru", "mlp", "mlp"],
                     "scheme": "identity", "order": 4},
    "mru_ldu": {"width": 18, "heads": 3, "layers": ["mru", "mlp", "mru", "mlp"],
                "scheme": "ldu", "order": 3},
    "mru_cayley": {"width": 24, "heads": 2, "layers": ["mru", "mlp"],
                   "scheme": "cayley", "order": 4},
    "attention_none": {"width": 16, "heads": 2, "layers": ["attention", "mlp", "mlp"],
                       "positions": "none"},
    "attention_learned": {"width": 16, "heads": 2, "layers": ["attention", "mlp", "mlp"],
                          "positions": "learned"},
    "attention_rope": {"width": 18, "heads": 3, "layers": ["attention", "mlp", "mlp"],
                       "positions": "rope"},
    "attention_xpos": {"width": 16, "heads": 2, "layers": ["attention", "mlp", "mlp"],
                       "positions": "xpos"},
    "ffn": {"width": 16, "layers": ["mlp", "mlp"]},
    # Later models follow, as a model's place is its seed.
    **{f"mru_{scheme}": {"width": 12, "heads": 2, "layers": ["mru", "mlp"], "scheme": scheme,
                         "order": 3}
       for scheme in ("scalar", "expm", "qr_cayley", "qr_expm", "householder",
                      "ldu_newton_schulz")},
    "attention_mru": {"width": 16, "heads": 2, "layers": ["attention", "mlp"],
                      "positions": "mru", "position_order": 4},
    **{kind: {"width": 12, "heads": 2, "layers": [kind, "mlp"]}
       for kind in ("linear", "ssm", "gru", "delta")},
}


# Not zero as in a fresh model, so that the matrices differ from I and gradients cross the scan.
# Products of ldu matrices grow fastest: at 0.2, ten float32 steps would keep only two digits.
W_IN_STD = {"ldu": 0.1}


# ---- initial parameters ---------------------------------------------------------------------

TRIANGULAR = ("cayley", "expm", "householder")  # whose elements are L alone


def element_count(cfg):
    """Numbers per token that the MRU's scheme turns into `heads` matrices (count = d_s)."""
    n = cfg["order"]
    return cfg["heads"] * (n * (n - 1) // 2 if cfg["scheme"] in TRIANGULAR else n * n)


def initial_parameters(cfg, generator):
    """name -> float64 tensor whose values float32 holds exactly.

    Beside W_in, c_attn's deviation too is larger than the models' own (0.2 for 0.02): attention is
    then far from uniform, and a wrong mask, rotation or scale shows in the loss.
    """
    width, layers = cfg["width"], cfg["layers"]
    out_std = 0.02 / math.sqrt(len(layers))

    def normal(std, *shape):
        return (torch.randn(shape, generator=generator, dtype=torch.float64) * std).float().double()

    p = {"transformer.wte.weight": normal(0.02, VOCAB, width)}
    if cfg.get("positions") == "learned":
        p["transformer.wpe.weight"] = normal(0.02, CONTEXT, width)
    for i, kind in enumerate(layers):
        h = f"transformer.h.{i}"
        p[f"{h}.ln.weight"] = torch.ones(width, dtype=torch.float64)
        if kind == "mru":
            heads, n = cfg["heads"], cfg["order"]
            p[f"{h}.mru.w_in.weight"] = normal(W_IN_STD.get(cfg["scheme"], 0.2),
                                               element_count(cfg), width)
            p[f"{h}.mru.w_down"] = normal(0.02 * math.sqrt(n), heads, n, width // (heads * n))
            p[f"{h}.mru.w_out.weight"] = normal(out_std, width, width)
        elif kind == "attention":
            p[f"{h}.attn.c_attn.weight"] = normal(0.2, 3 * width, width)
            p[f"{h}.attn.c_proj.weight"] = normal(out_std, width, width)
            if cfg["positions"] == "mru":
                n = cfg["position_order"]
                p[f"{h}.attn.positions.w_pos.weight"] = normal(0.2, width * (n - 1) // 2, width)
        elif kind in ("linear", "delta"):
            name = "linear_attn" if kind == "linear" else "delta"
            p[f"{h}.{name}.c_attn.weight"] = normal(0.2, 3 * width, width)
            if kind == "delta":
                p[f"{h}.delta.c_beta.weight"] = normal(0.2, cfg["heads"], width)
            p[f"{h}.{name}.c_proj.weight"] = normal(out_std, width, width)
        elif kind == "ssm":
            p[f"{h}.ssm.c_in.weight"] = normal(0.2, 2 * width, width)
            p[f"{h}.ssm.c_proj.weight"] = normal(out_std, width, width)
        elif kind == "gru":
            for part in ("ih", "hh"):
                p[f"{h}.gru.weight_{part}"] = normal(0.2, 3 * width, width)
                p[f"{h}.gru.bias_{part}"] = normal(0.2, 3 * width)
            p[f"{h}.gru.c_proj.weight"] = normal(out_std, width, width)
        elif kind == "mlp":
            p[f"{h}.mlp.c_fc.weight"] = normal(0.02, 4 * width, width)
            p[f"{h}.mlp.c_proj.weight"] = normal(out_std, width, 4 * width)
    p["transformer.ln_f.weight"] = torch.ones(width, dtype=torch.float64)
    return p


# ---- the model ------------------------------------------------------------------------------

def matrices(elements, scheme, heads, n):
    """elements (B, T, count), head-major -> M (B, T, heads, n, n); all zero elements give I."""
    elements = elements.unflatten(-1, (heads, -1))
    eye = torch.eye(n, dtype=elements.dtype)
    if scheme in TRIANGULAR:  # L strictly lower, filled row by row
        rows, cols = torch.tril_indices(n, n, -1)
        x = torch.zeros(*elements.shape[:-1], n, n, dtype=elements.dtype)
        x[..., rows, cols] = elements
    else:
        x = elements.unflatten(-1, (n, n))
    lower, upper, d = x.tril(-1), x.triu(1), x.diagonal(dim1=-2, dim2=-1)
    a = lower - lower.mT
    scale = torch.exp(d - d.mean(-1, keepdim=True))
    if scheme == "identity":
        return x + eye
    if scheme == "scalar":
        det = torch.linalg.det(x + eye).abs().clamp(min=1e-6)
        return (x + eye) / det[..., None, None] ** (1 / n)
    if scheme in ("ldu", "ldu_newton_schulz"):  # (L + D)(U + D), D = sqrt(exp(d - mean d)); det 1
        diagonal = torch.diag_embed(torch.sqrt(scale))
        m = (lower + diagonal) @ (upper + diagonal)
        if scheme == "ldu":
            return m
        e = eye - m.mT @ m / (m ** 2).sum((-2, -1), keepdim=True)
        mu = (n - 1) / (2 * n)
        v = ((e ** 2).sum((-2, -1), keepdim=True) / (4 * n) - mu ** 2).clamp(min=0)
        return torch.exp(v / (2 * (1 + mu) ** 2)) / (1 + mu) * (m @ (eye + e / 2))
    if scheme == "householder":  # minus the product of n reflections
        m = -eye.expand_as(x)
        for i in range(n):
            column = lower[..., i] + eye[i]
            m = m - 2 * (m @ column[..., None]) * column[..., None, :] / (
                column ** 2).sum(-1)[..., None, None]
        return m
    if scheme.endswith("cayley"):  # (I - A)^-1 (I + A)
        q = torch.linalg.solve(eye - a, eye + a)
    elif scheme.endswith("expm"):
        q = torch.linalg.matrix_exp(a)
    if scheme in ("cayley", "expm"):
        return q
    if scheme in ("qr_cayley", "qr_expm"):
        return q @ (upper + torch.diag_embed(scale))
    raise ValueError(scheme)


def matmul_scan(m):
    """H_t = H_{t-1} M_t over dim 1, H_0 = I: the sequential product."""
    states = [m[:, 0]]
    for t in range(1, m.shape[1]):
        states.append(states[-1] @ m[:, t])
    return torch.stack(states, dim=1)


def mru(x, p, h, cfg):
    elements = F.linear(x, p[f"{h}.mru.w_in.weight"])
    states = matmul_scan(matrices(elements, cfg["scheme"], cfg["heads"], cfg["order"]))
    y = states @ p[f"{h}.mru.w_down"]  # (B, T, h, d_o, d_o) (h, d_o, d_c) -> (B, T, h, d_o, d_c)
    return F.linear(y.flatten(-3), p[f"{h}.mru.w_out.weight"])


def rotate(x, angle):
    """x (B, h, T, d): rotates the pair (x_2i, x_2i+1) at t by angle[t, i] (Su et al. 2021)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def turn(x, states, n):
    """x (B, h, T, d): each chunk of n dimensions times its own H_t^T; states (B, T, h d/n, n, n)."""
    b, heads, t, d = x.shape
    rows = x.transpose(1, 2).reshape(b, t, heads * d // n, 1, n)
    return (rows @ states.mT).reshape(b, t, heads, d).transpose(1, 2)


def attention(x, p, h, cfg):
    b, t, width = x.shape
    heads = cfg["heads"]
    d = width // heads
    q, k, v = (part.view(b, t, heads, d).transpose(1, 2)  # each (B, h, T, d)
               for part in F.linear(x, p[f"{h}.attn.c_attn.weight"]).split(width, dim=-1))
    if cfg["positions"] in ("rope", "xpos"):
        time = torch.arange(t, dtype=x.dtype)[:, None]
        two_i = torch.arange(0, d, 2, dtype=x.dtype)
        angle = time * 10000.0 ** (-two_i / d)  # (T, d/2)
        q, k = rotate(q, angle), rotate(k, angle)
        if cfg["positions"] == "xpos":  # Sun et al. 2022
            scale = ((two_i + 0.4 * d) / (1.4 * d)) ** (time / 512)
            scale = scale.repeat_interleave(2, dim=-1)  # both members of a pair
            q, k = q * scale, k / scale
    if cfg["positions"] == "mru":  # chunks of n dimensions turned by H_t, as rows: q H_t^T
        n = cfg["position_order"]
        elements = F.linear(x, p[f"{h}.attn.positions.w_pos.weight"])
        states = matmul_scan(matrices(elements, "cayley", width // n, n))  # (B, T, h chunks, n, n)
        q, k = (turn(part, states, n) for part in (q, k))
    scores = q @ k.mT / math.sqrt(d)
    future = torch.ones(t, t, dtype=torch.bool).triu(1)
    y = scores.masked_fill(future, -math.inf).softmax(-1) @ v
    return F.linear(y.transpose(1, 2).flatten(-2), p[f"{h}.attn.c_proj.weight"])


def mlp(x, p, h, cfg):
    hidden = F.gelu(F.linear(x, p[f"{h}.mlp.c_fc.weight"]))  # the erf form
    return F.linear(hidden, p[f"{h}.mlp.c_proj.weight"])


def heads_of(x, weight, heads):
    """x W^T (B, T, width), each head by itself: (B, T, h, d)."""
    return F.linear(x, weight).unflatten(-1, (heads, -1))


def linear(x, p, h, cfg):
    """y_t = sum_{s<=t} phi(q_t).phi(k_s) v_s / (sum_{s<=t} phi(q_t).phi(k_s) + 1e-6)."""
    width, heads = cfg["width"], cfg["heads"]
    q, k, v = (heads_of(x, part, heads).transpose(1, 2)
               for part in p[f"{h}.linear_attn.c_attn.weight"].split(width))
    scores = ((F.elu(q) + 1) @ (F.elu(k) + 1).mT).tril()
    y = scores @ v / (scores.sum(-1, keepdim=True) + 1e-6)
    return F.linear(y.transpose(1, 2).flatten(-2), p[f"{h}.linear_attn.c_proj.weight"])


def ssm(x, p, h, cfg):
    """h_t = a_t h_{t-1} + (1 - a_t) B x_t, a_t = sigmoid(W x_t)."""
    w, b = p[f"{h}.ssm.c_in.weight"].split(cfg["width"])
    state, states = torch.zeros_like(x[:, 0]), []
    for token in x.unbind(1):
        a = torch.sigmoid(F.linear(token, w))
        state = a * state + (1 - a) * F.linear(token, b)
        states.append(state)
    return F.linear(torch.stack(states, 1), p[f"{h}.ssm.c_proj.weight"])


def gru(x, p, h, cfg):
    weights = (p[f"{h}.gru.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    states, _ = torch.gru(x, torch.zeros(1, len(x), cfg["width"], dtype=x.dtype), list(weights),
                          has_biases=True, num_layers=1, dropout=0.0, train=False,
                          bidirectional=False, batch_first=True)
    return F.linear(states, p[f"{h}.gru.c_proj.weight"])


def delta(x, p, h, cfg):
    """S_t = S_{t-1} (I - beta k k^T) + beta v k^T, y_t = S_t q_t, one token after another."""
    width, heads = cfg["width"], cfg["heads"]
    q, k, v = (heads_of(x, part, heads) for part in p[f"{h}.delta.c_attn.weight"].split(width))
    q, k = (y / torch.sqrt((y ** 2).sum(-1, keepdim=True) + 1e-6) for y in (F.silu(q), F.silu(k)))
    beta = torch.sigmoid(F.linear(x, p[f"{h}.delta.c_beta.weight"]))  # (B, T, h)
    d = width // heads
    state, ys = torch.zeros(len(x), heads, d, d, dtype=x.dtype), []
    for t in range(x.shape[1]):
        kt, b = k[:, t, :, None, :], beta[:, t, :, None, None]  # (B, h, 1, d)
        state = state @ (torch.eye(d, dtype=x.dtype) - b * kt.mT @ kt) + b * v[:, t, ..., None] @ kt
        ys.append((state @ q[:, t, ..., None]).squeeze(-1))
    return F.linear(torch.stack(ys, 1).flatten(-2), p[f"{h}.delta.c_proj.weight"])


MIXERS = {"mru": mru, "attention": attention, "linear": linear, "ssm": ssm, "gru": gru,
          "delta": delta, "mlp": mlp}


def loss_of(p, cfg, inputs, targets):
    """Mean cross entropy over B*T; inputs and targets (B, T)."""
    def norm(x, name):
        return F.layer_norm(x, (cfg["width"],), p[name], None, eps=1e-5)

    x = p["transformer.wte.weight"][inputs]
    if "transformer.wpe.weight" in p:
        x = x + p["transformer.wpe.weight"][:inputs.shape[1]]
    for i, kind in enumerate(cfg["layers"]):
        h = f"transformer.h.{i}"
        x = x + MIXERS[kind](norm(x, f"{h}.ln.weight"), p, h, cfg)
    logits = norm(x, "transformer.ln_f.weight") @ p["transformer.wte.weight"].mT  # tied
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


# ---- training -------------------------------------------------------------------------------

def group_of(name):
    if name.endswith(("wte.weight", "wpe.weight", "ln.weight", "ln_f.weight", "bias_ih", "bias_hh")):
        return "embeddings_and_norms"
    return "w_in" if name.endswith(("w_in.weight", "w_pos.weight")) else "matrices"


def groups_for(cfg):
    lr = TRAINING["lr"]
    groups = {"embeddings_and_norms": {"lr": lr, "weight_decay": 0.0, "clip": 1.0},
              "matrices": {"lr": lr, "weight_decay": 0.1, "clip": 1.0}}
    order = cfg.get("order", cfg.get("position_order"))  # of the matrices that tokens multiply
    if order is not None:
        groups["w_in"] = {"lr": lr / order * math.sqrt(2 / CONTEXT), "weight_decay": 0.1,
                          "clip": math.sqrt(CONTEXT / 2)}
    return groups


def train(initial, cfg, tokens):
    """-> (losses, gradients before clipping at steps 1 and 10, final parameters, group norms)."""
    p = {name: value.clone().requires_grad_() for name, value in initial.items()}
    groups = groups_for(cfg)
    members = {g: [p[name] for name in p if group_of(name) == g] for g in groups}
    adamw = torch.optim.AdamW(
        [{"params": members[g], "lr": o["lr"], "weight_decay": o["weight_decay"]}
         for g, o in groups.items()],
        betas=tuple(TRAINING["betas"]), eps=TRAINING["eps"], foreach=False)
    losses, gradients, norms = [], {}, []
    for step in range(1, STEPS + 1):
        batch = tokens[step - 1]
        adamw.zero_grad()
        loss = loss_of(p, cfg, batch[:, :-1], batch[:, 1:])
        loss.backward()
        losses.append(loss.item())
        if step in (1, STEPS):
            gradients.update({f"grad.{step}.{name}": v.grad.clone() for name, v in p.items()})
        norms.append([float(torch.nn.utils.clip_grad_norm_(members[g], o["clip"]))
                      for g, o in groups.items()])
        adamw.step()
    return losses, gradients, {name: v.detach() for name, v in p.items()}, norms


def main(folder):
    for seed, (name, model) in enumerate(MODELS.items()):
        generator = torch.Generator().manual_seed(1000 + seed)
        initial = initial_parameters(model, generator)
        tokens = torch.randint(VOCAB, (STEPS, BATCH, CONTEXT + 1), generator=generator)
        losses, gradients, final, norms = train(initial, model, tokens)
        config = {"model": {**model, "vocab_size": VOCAB, "context_length": CONTEXT},
                  "training": {**TRAINING, "groups": groups_for(model)}}
        tensors = {
            "tokens": tokens,
            "losses": torch.tensor(losses, dtype=torch.float64),
            "group_norms": torch.tensor(norms, dtype=torch.float64),
            **{f"init.{k}": v.float() for k, v in initial.items()},  # exact: already rounded
            **gradients,
            **{f"final.{k}": v for k, v in final.items()},
        }
        path = folder / f"{name}.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, path,
                  metadata={"config": json.dumps(config)})
        print(f"{path.name}: {path.stat().st_size} bytes, loss {losses[0]:.6f} -> {losses[-1]:.6f},"
              f" largest group norms {[round(max(n), 3) for n in zip(*norms)]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
