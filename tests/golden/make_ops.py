#!/usr/bin/env python3
"""Reference values in PyTorch for the operations whose semantics are easy to get subtly wrong.

Writes ops.safetensors. Each case `<op>.<case>` stores its tensor arguments `in0, in1, ...` (bool
masks and i64 indices as they are), the result `out` (and `out1`: the indices, where there are any)
and, where the operation is differentiable, `grad_out` (random) and `grad0, grad1, ...`, the
gradients of the floating inputs. `__metadata__["cases"]` is JSON: case -> the other arguments.
Needs torch, numpy and safetensors. Usage: python3 make_ops.py [output folder]
"""
import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

GENERATOR = torch.Generator().manual_seed(7)
INF = math.inf


def normal(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def i64(values):
    return torch.tensor(values, dtype=torch.int64)


class Cases:
    def __init__(self):
        self.tensors, self.attributes = {}, {}

    def add(self, name, function, *inputs, gradient=True, **attributes):
        """Runs function(*inputs, **attributes) and stores everything under `name`."""
        assert name not in self.attributes, name
        inputs = [x.clone().requires_grad_(gradient and x.is_floating_point()) for x in inputs]
        result = function(*inputs, **attributes)
        outs = list(result) if isinstance(result, (tuple, list)) else [result]
        store = {f"in{i}": x for i, x in enumerate(inputs)}
        store.update({"out" + (str(i) if i else ""): x for i, x in enumerate(outs)})
        if gradient:
            store["grad_out"] = normal(*outs[0].shape)
            wanted = [i for i, x in enumerate(inputs) if x.requires_grad]
            grads = torch.autograd.grad(outs[0], [inputs[i] for i in wanted], store["grad_out"])
            store.update({f"grad{i}": g for i, g in zip(wanted, grads)})
        for key, x in store.items():
            self.tensors[f"{name}.{key}"] = x.detach().clone().contiguous()
        self.attributes[name] = attributes


TIES = f64([[1, 3, 3, -2, 3], [0, 0, 0, 0, 0], [5, 4, 5, -1, -1]])


def elementwise(c):
    around = torch.cat([f64([-30, -3, -1, -0.5, 0, 0.5, 1, 3, 30]), normal(7)])
    c.add("gelu.erf", F.gelu, around, approximate="none")
    c.add("gelu.tanh", F.gelu, around, approximate="tanh")
    c.add("silu.values", F.silu, around)
    c.add("softplus.values", F.softplus, around)  # linear above 20
    c.add("softplus.beta_threshold", F.softplus, around, beta=2.0, threshold=1.5)
    c.add("elu.values", F.elu, around, alpha=1.0)
    c.add("elu.alpha", F.elu, around, alpha=0.7)
    c.add("relu.at_zero", F.relu, f64([-1, 0, 2]))
    c.add("abs.at_zero", torch.abs, f64([-1, 0, 2]))
    # No element equals a bound: the gradient there is 1 or 0 by the version of PyTorch.
    c.add("clamp.two_bounds", torch.clamp, f64([-2, -0.9, 0, 0.9, 2]), min=-1.0, max=1.0)
    c.add("pow.square_at_zero", torch.pow, f64([-2, 0, 3]), exponent=2.0)
    c.add("pow.zero_exponent", torch.pow, f64([-2, 0, 3]), exponent=0.0)
    c.add("pow.tensors", torch.pow, f64([0.5, 2, 3]), f64([2, -1, 0.5]))
    a, b = f64([1, 2, 3, 0]), f64([1, 3, 2, 0])
    c.add("maximum.ties", torch.maximum, a, b)  # a tie gives half to each
    c.add("minimum.ties", torch.minimum, a, b)


def reductions(c):
    x = normal(2, 3, 4)
    c.add("amax.ties", torch.amax, TIES, dim=1)  # shared evenly among the tied
    c.add("amin.ties", torch.amin, TIES, dim=1)
    c.add("max.ties", torch.max, TIES, dim=1)  # all to the index returned
    c.add("min.ties", torch.min, TIES, dim=1)
    c.add("max.all", torch.max, TIES)  # shared evenly among the tied
    c.add("min.all", torch.min, TIES)
    c.add("argmax.ties", torch.argmax, TIES, gradient=False, dim=1)
    c.add("var.unbiased", torch.var, x, dim=1, unbiased=True)
    c.add("var.biased", torch.var, x, dim=1, unbiased=False)
    c.add("var.all_unbiased", torch.var, x, unbiased=True)
    c.add("var.keepdim", torch.var, x, dim=[0, 2], unbiased=True, keepdim=True)
    c.add("logsumexp.values", torch.logsumexp, x, dim=1)
    c.add("logsumexp.some_minus_inf", torch.logsumexp, f64([[-INF, 1, 2], [3, -INF, -INF]]), dim=1)
    c.add("logsumexp.all_minus_inf", torch.logsumexp, f64([[-INF, -INF], [1, 2]]), dim=1,
          gradient=False)  # PyTorch's own is NaN here: nothing to agree with
    c.add("logsumexp.large", torch.logsumexp, f64([[1000, 1001], [-1000, -1001]]), dim=1)
    with_zero = x.clone()
    with_zero[0, :, 1] = 0  # the norm of an all-zero slice has gradient 0
    c.add("norm.l2", torch.linalg.vector_norm, with_zero, ord=2, dim=1)
    c.add("norm.l2_all", torch.linalg.vector_norm, x, ord=2)
    c.add("norm.l1", torch.linalg.vector_norm, with_zero, ord=1, dim=1)
    c.add("norm.l3", torch.linalg.vector_norm, with_zero, ord=3, dim=1)


def normalisation_and_loss(c):
    x, weight, bias = normal(2, 3, 5), normal(5), normal(5)
    shape = (5,)
    c.add("layer_norm.weight", lambda x, w, eps: F.layer_norm(x, shape, w, None, eps), x, weight,
          eps=1e-5)
    c.add("layer_norm.weight_bias", lambda x, w, b, eps: F.layer_norm(x, shape, w, b, eps), x,
          weight, bias, eps=1e-5)
    c.add("layer_norm.plain", lambda x, eps: F.layer_norm(x, shape, eps=eps), x, eps=1e-5)
    c.add("layer_norm.constant_rows", lambda x, eps: F.layer_norm(x, shape, eps=eps),
          torch.ones(2, 5, dtype=torch.float64), eps=1e-5)
    c.add("rms_norm.weight", lambda x, w, eps: F.rms_norm(x, shape, w, eps), x, weight, eps=1e-6)
    c.add("rms_norm.plain", lambda x, eps: F.rms_norm(x, shape, eps=eps), x, eps=1e-6)
    c.add("softmax.large", torch.softmax, f64([[1000, 1001, -INF], [0, -1000, 3]]), dim=1)
    c.add("log_softmax.large", torch.log_softmax, f64([[1000, 1001, 999], [0, -1000, 3]]), dim=1)

    logits, targets = normal(6, 4), i64([0, 3, -100, 1, 2, -100])
    c.add("cross_entropy.mean", F.cross_entropy, logits, i64([0, 3, 2, 1, 2, 0]))
    c.add("cross_entropy.ignore_index", F.cross_entropy, logits, targets, ignore_index=-100)
    c.add("cross_entropy.ignore_index_1", F.cross_entropy, logits, i64([0, 3, 1, 1, 2, 0]),
          ignore_index=1)
    c.add("cross_entropy.label_smoothing", F.cross_entropy, logits, i64([0, 3, 2, 1, 2, 0]),
          label_smoothing=0.1)
    c.add("cross_entropy.ignore_and_smoothing", F.cross_entropy, logits, targets,
          ignore_index=-100, label_smoothing=0.1)
    c.add("cross_entropy.sum", F.cross_entropy, logits, targets, ignore_index=-100,
          reduction="sum")
    c.add("cross_entropy.none", F.cross_entropy, logits, targets, ignore_index=-100,
          label_smoothing=0.1, reduction="none")


def attention(c):
    sdpa = F.scaled_dot_product_attention
    q, k, v = normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 6)
    square = normal(2, 3, 5, 4), normal(2, 3, 5, 4), normal(2, 3, 5, 4)
    mask = torch.rand((5, 7), generator=GENERATOR) > 0.4
    mask[:, 0] = True  # every query attends to something
    empty_row = mask.clone()
    empty_row[2] = False  # this query attends to nothing: its output is 0
    c.add("scaled_dot_product_attention.plain", sdpa, q, k, v)
    c.add("scaled_dot_product_attention.causal", sdpa, *square, is_causal=True)
    c.add("scaled_dot_product_attention.causal_rectangular", sdpa, q, k, v, is_causal=True)
    c.add("scaled_dot_product_attention.bool_mask", sdpa, q, k, v, mask)
    c.add("scaled_dot_product_attention.empty_row", sdpa, q, k, v, empty_row)


def scans(c):
    one_zero, two_zeros = normal(5, 2), normal(5, 2)
    one_zero[2, 0] = 0
    two_zeros[1, 0] = two_zeros[3, 0] = two_zeros[0, 1] = two_zeros[4, 1] = 0
    c.add("cumsum.values", torch.cumsum, normal(2, 5, 3), dim=1)
    c.add("cumprod.no_zero", torch.cumprod, normal(5, 2), dim=0)
    c.add("cumprod.one_zero", torch.cumprod, one_zero, dim=0)
    c.add("cumprod.two_zeros", torch.cumprod, two_zeros, dim=0)
    c.add("cumprod.all_zero", torch.cumprod, torch.zeros(4, dtype=torch.float64), dim=0)
    ties = f64([[1, 3, 3, 2, 3, 4, 4], [2, 2, 1, 1, 2, 0, 0]])
    c.add("cummax.ties", torch.cummax, ties, dim=1)  # the last index wins
    c.add("cummin.ties", torch.cummin, ties, dim=1)
    c.add("logcumsumexp.values", torch.logcumsumexp, normal(2, 5, 3), dim=1)
    c.add("logcumsumexp.some_minus_inf", torch.logcumsumexp, f64([0, -INF, 3, -INF]), dim=0)
    c.add("logcumsumexp.leading_minus_inf", torch.logcumsumexp, f64([-INF, -INF, 1, 2]), dim=0,
          gradient=False)  # PyTorch's own is NaN at the leading ones
    c.add("logcumsumexp.large", torch.logcumsumexp, f64([1000, 1001, -1000, 1002]), dim=0)


def indexing(c):
    x, source = normal(3, 4), normal(2, 4)
    index = i64([[0, 0, 2, 1], [0, 1, 2, 1]])  # repeated targets add up
    c.add("scatter_add.repeated", lambda x, i, s, dim: x.scatter_add(dim, i, s), x, index, source,
          dim=0)
    c.add("gather.repeated", lambda x, i, dim: torch.gather(x, dim, i), x,
          i64([[3, 3, 0], [1, 1, 1], [0, 2, 3]]), dim=1)
    c.add("index_select.repeated", lambda x, i, dim: torch.index_select(x, dim, i), x,
          i64([2, 0, 2]), dim=0)
    c.add("sort.ascending", torch.sort, normal(3, 5), dim=1)
    c.add("sort.stable_ties", torch.sort, TIES, dim=1, stable=True)
    c.add("sort.stable_ties_descending", torch.sort, TIES, dim=1, descending=True, stable=True)
    c.add("topk.largest", torch.topk, normal(3, 6), k=3, dim=1)
    c.add("topk.smallest", torch.topk, normal(6, 3), k=2, dim=0, largest=False)
    c.add("pad.constant", F.pad, normal(2, 3, 4), pad=[1, 2, 0, 1], value=0.5)
    c.add("pad.negative", F.pad, normal(3, 5), pad=[-1, 2, 1, -2])
    c.add("embedding.repeated", lambda w, i: F.embedding(i, w), normal(5, 3),
          i64([[4, 0, 4], [1, 4, 0]]))
    c.add("repeat_interleave.values", torch.repeat_interleave, normal(2, 3), repeats=2, dim=1)


def linear_algebra(c):
    well_conditioned = normal(2, 3, 4, 4) + 4 * torch.eye(4, dtype=torch.float64)
    needs_pivot = f64([[0, 1, 2], [1, 0, 3], [4, -3, 8]])
    c.add("solve.batched", torch.linalg.solve, well_conditioned, normal(2, 3, 4, 2))
    c.add("solve.zero_pivot", torch.linalg.solve, needs_pivot, normal(3, 2))
    c.add("matmul.broadcast", torch.matmul, normal(2, 1, 3, 4), normal(5, 4, 2))
    c.add("matmul.vector", torch.matmul, normal(2, 3, 4), normal(4))


def main(folder):
    cases = Cases()
    for family in (elementwise, reductions, normalisation_and_loss, attention, scans, indexing,
                   linear_algebra):
        family(cases)
    path = folder / "ops.safetensors"
    save_file(cases.tensors, path,
              metadata={"cases": json.dumps(cases.attributes), "torch": torch.__version__})
    print(f"{path.name}: {len(cases.attributes)} cases, {path.stat().st_size} bytes")
    for name, x in cases.tensors.items():
        if x.is_floating_point() and not torch.isfinite(x).all():
            print("  not finite:", name, x.flatten().tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
