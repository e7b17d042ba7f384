#!/usr/bin/env python3
"""A tiny GPT-2 with random weights in Hugging Face's names and layout, and its float64 logits, for
the C++ parity test: gpt2/{config.json,model.safetensors,expected.safetensors}.

The forward pass is written out here from Radford et al. 2019; where the package transformers is
installed, its GPT2LMHeadModel must agree. Needs torch and safetensors.
Usage: python3 make_gpt2.py [output folder]
"""
import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

CONFIG = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new",
    "vocab_size": 17, "n_positions": 10, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": None,
    "layer_norm_epsilon": 1e-5, "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1,
}


def random_state(generator):
    """Every parameter at random, so that none can be forgotten; linear weights are (in, out)."""
    width, context = CONFIG["n_embd"], CONFIG["n_positions"]

    def normal(*shape, mean=0.0):
        return mean + 0.3 * torch.randn(shape, generator=generator)

    state = {"wte.weight": normal(CONFIG["vocab_size"], width), "wpe.weight": normal(context, width),
             "ln_f.weight": normal(width, mean=1.0), "ln_f.bias": normal(width)}
    for i in range(CONFIG["n_layer"]):
        for name, sizes in {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width),
                            "mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}.items():
            state[f"h.{i}.{name}.weight"] = normal(*sizes)
            state[f"h.{i}.{name}.bias"] = normal(sizes[1])
        for name in ("ln_1", "ln_2"):
            state[f"h.{i}.{name}.weight"] = normal(width, mean=1.0)
            state[f"h.{i}.{name}.bias"] = normal(width)
        # The causal mask, which older files hold beside the weights.
        state[f"h.{i}.attn.bias"] = torch.ones(1, 1, context, context, dtype=torch.bool).tril()
    return {f"transformer.{name}": value for name, value in state.items()}


def logits_of(state, tokens):
    """tokens (B, T) -> (B, T, vocab)."""
    p = {name.removeprefix("transformer."): value.double() for name, value in state.items()}
    heads = CONFIG["n_head"]

    def linear(x, name):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps=1e-5)

    x = p["wte.weight"][tokens] + p["wpe.weight"][:tokens.shape[1]]
    for i in range(CONFIG["n_layer"]):
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, T, d)
                   for part in linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").chunk(3, -1))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        y = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        x = x + linear(y.transpose(1, 2).flatten(-2), f"h.{i}.attn.c_proj")
        inside = linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
        # Hendrycks and Gimpel's approximation, "gelu_new".
        inside = 0.5 * inside * (1 + torch.tanh(math.sqrt(2 / math.pi)
                                                * (inside + 0.044715 * inside**3)))
        x = x + linear(inside, f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ p["wte.weight"].T


def check_against_transformers(folder, tokens, logits):
    try:
        from transformers import GPT2LMHeadModel
    except ImportError:
        print("transformers is not installed: not compared with it")
        return
    model = GPT2LMHeadModel.from_pretrained(folder).double().eval()
    with torch.no_grad():
        difference = (model(tokens).logits - logits).abs().max().item()
    print(f"largest difference from transformers: {difference:.1e}")
    assert difference < 1e-12


def main(folder):
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(7)
    state = random_state(generator)
    tokens = torch.randint(CONFIG["vocab_size"], (2, CONFIG["n_positions"]), generator=generator)
    logits = logits_of(state, tokens)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({"tokens": tokens, "logits": logits}, folder / "expected.safetensors")
    check_against_transformers(folder, tokens, logits)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "gpt2")
