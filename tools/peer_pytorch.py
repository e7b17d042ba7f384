#!/usr/bin/env python3
"""The PyTorch peer for speed: the same model and the same scan, written as fast as PyTorch allows.

  peer_pytorch.py train [--scheme identity|ldu] [--device cpu|cuda] ...   one training step
  peer_pytorch.py scan --shape S,T,d [--device cpu|cuda] ...              the matrix scan alone

`train` is one MRU and four MLPs of width 256, 4 heads of order 8, vocabulary 65, dropout 0.2, AdamW
with three groups, each clipped by its own norm, float32; eager and through torch.compile, with
each way to write the scan: the fastest line is the peer. Results are JSON lines on stdout: medians
over the steps after a warm-up, the load average beside them.
"""
import argparse
import json
import math
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

# ---- the scan: H_t = H_{t-1} M_t ------------------------------------------------------------
# Time comes first, m (T, S, n, n), so that one time step is one contiguous batch. The backward,
# P_t = G_t + P_{t+1} M_{t+1}^T and dM_t = H_{t-1}^T P_t, is a scan of pairs (P, A), A the product
# of the M^T so far, run from the end.


def matrix_product(left, right):
    return (left[0] @ right[0],)


def affine_product(left, right):
    return (left[0] @ right[1] + right[0], left[1] @ right[1])


def brent_kung(x, combine):
    """Inclusive scan of a tuple over dim 0: combine pairs, scan those, fill in between."""
    length = x[0].shape[0]
    if length == 1:
        return x
    pairs = combine([v[0:-1:2] for v in x], [v[1::2] for v in x])
    odd = brent_kung(pairs, combine)
    result = [torch.empty_like(v) for v in x]
    for r, v, o in zip(result, x, odd):
        r[0], r[1::2] = v[0], o
    if length > 2:
        even = combine([o[:(length - 1) // 2] for o in odd], [v[2::2] for v in x])
        for r, e in zip(result, even):
            r[2::2] = e
    return result


def sequential(x, combine):
    states = [tuple(v[0] for v in x)]
    for t in range(1, x[0].shape[0]):
        states.append(combine(states[-1], [v[t] for v in x]))
    return [torch.stack(v) for v in zip(*states)]


def chunked(x, combine):
    """About sqrt(T) steps over all chunks at once, then over the chunks, then the carries go in."""
    length = x[0].shape[0]
    chunk = next(k for k in range(math.isqrt(length), 0, -1) if length % k == 0)
    local = sequential([v.unflatten(0, (-1, chunk)).transpose(0, 1) for v in x], combine)
    totals = sequential([v[-1] for v in local], combine)  # local: (chunk, chunks, ...)
    rest = combine([v[:-1].expand(chunk, *v[1:].shape) for v in totals], [v[:, 1:] for v in local])
    return [torch.cat((v[:, :1], r), 1).transpose(0, 1).flatten(0, 1) for v, r in zip(local, rest)]


SCANS = {"brent_kung": brent_kung, "chunked": chunked, "sequential": sequential}


class MatmulScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, m, scan):
        states, = SCANS[scan]((m,), matrix_product)
        ctx.save_for_backward(m, states)
        ctx.scan = scan
        return states

    @staticmethod
    def backward(ctx, grad):
        m, states = ctx.saved_tensors
        if ctx.scan == "sequential":  # one step at a time needs no product of the M^T
            p = [grad[-1]]
            for t in range(len(m) - 1, 0, -1):
                p.append(torch.baddbmm(grad[t - 1], p[-1], m[t].mT))
            p = torch.stack(p[::-1])
        else:
            a = torch.cat((torch.zeros_like(m[:1]), m.flip(0)[:-1].mT))
            p = SCANS[ctx.scan]((grad.flip(0), a), affine_product)[0].flip(0)
        dm = torch.empty_like(m)
        dm[0] = p[0]  # H_0 = I
        torch.matmul(states[:-1].mT, p[1:], out=dm[1:])
        return dm, None


def verify_scans():
    """The scans and their gradients against a plain loop under autograd."""
    generator = torch.Generator().manual_seed(0)
    for length in (1, 2, 7, 12):
        m = torch.randn(length, 3, 4, 4, generator=generator, dtype=torch.float64)
        weight = torch.randn(m.shape, generator=generator, dtype=torch.float64)
        m.requires_grad_()
        expected, = sequential((m,), matrix_product)
        expected_grad, = torch.autograd.grad((expected * weight).sum(), m)
        for scan in SCANS:
            states = MatmulScan.apply(m, scan)
            grad, = torch.autograd.grad((states * weight).sum(), m)
            torch.testing.assert_close(states, expected)
            torch.testing.assert_close(grad, expected_grad)


# ---- the model ------------------------------------------------------------------------------

class Mru(nn.Module):
    def __init__(self, width, heads, order, scheme, scan, layers, dropout):
        super().__init__()
        self.heads, self.order, self.scheme, self.scan, self.dropout = \
            heads, order, scheme, scan, dropout
        self.w_in = nn.Parameter(torch.zeros(heads * order * order, width))
        self.w_down = nn.Parameter(
            torch.randn(heads, order, width // (heads * order)) * 0.02 * math.sqrt(order))
        self.w_out = nn.Parameter(torch.randn(width, width) * 0.02 / math.sqrt(layers))
        self.register_buffer("eye", torch.eye(order))

    def matrices(self, x):  # (..., n, n)
        if self.scheme == "identity":
            return x + self.eye
        d = x.diagonal(dim1=-2, dim2=-1)
        diagonal = torch.diag_embed(torch.exp(0.5 * (d - d.mean(-1, keepdim=True))))
        return (x.tril(-1) + diagonal) @ (x.triu(1) + diagonal)

    def forward(self, x):  # (B, T, width)
        b, t, _ = x.shape
        elements = F.dropout(F.linear(x, self.w_in), self.dropout, self.training)
        elements = elements.view(b, t, self.heads, self.order, self.order)
        m = self.matrices(elements).transpose(0, 1).flatten(1, 2)  # (T, B*h, n, n)
        states = MatmulScan.apply(m, self.scan).unflatten(1, (b, self.heads))
        y = torch.einsum("tbhij,hjc->bthic", states, self.w_down).flatten(-3)
        return F.dropout(F.linear(y, self.w_out), self.dropout, self.training)


class Mlp(nn.Module):
    def __init__(self, width, layers, dropout):
        super().__init__()
        self.dropout = dropout
        self.c_fc = nn.Parameter(torch.randn(4 * width, width) * 0.02)
        self.c_proj = nn.Parameter(torch.randn(width, 4 * width) * 0.02 / math.sqrt(layers))

    def forward(self, x):
        y = F.linear(F.gelu(F.linear(x, self.c_fc)), self.c_proj)
        return F.dropout(y, self.dropout, self.training)


class LanguageModel(nn.Module):
    def __init__(self, vocab, width, heads, order, layers, scheme, scan, dropout):
        super().__init__()
        self.width, self.dropout = width, dropout
        self.wte = nn.Parameter(torch.randn(vocab, width) * 0.02)
        self.norms = nn.ParameterList(torch.ones(width) for _ in range(len(layers) + 1))
        self.mixers = nn.ModuleList(
            Mru(width, heads, order, scheme, scan, len(layers), dropout) if kind == "mru"
            else Mlp(width, len(layers), dropout) for kind in layers)

    def forward(self, inputs, targets):  # both (B, T)
        def norm(x, weight):
            return F.layer_norm(x, (self.width,), weight)

        x = F.dropout(F.embedding(inputs, self.wte), self.dropout, self.training)
        for weight, mixer in zip(self.norms, self.mixers):
            x = x + mixer(norm(x, weight))
        logits = F.linear(norm(x, self.norms[-1]), self.wte)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def optimizer_groups(self, length, order, rate, w_in_rate=1.0):
        """-> (AdamW's groups, the clip norm of each)."""
        groups = {"plain": [], "matrices": [], "w_in": []}
        for name, p in self.named_parameters():
            kind = "w_in" if name.endswith("w_in") else \
                "plain" if name == "wte" or name.startswith("norms") else "matrices"
            groups[kind].append(p)
        w_in_lr = rate * w_in_rate / order * math.sqrt(2 / length)
        return ([{"params": groups["plain"], "lr": rate, "weight_decay": 0.0},
                 {"params": groups["matrices"], "lr": rate, "weight_decay": 0.1},
                 {"params": groups["w_in"], "lr": w_in_lr, "weight_decay": 0.1}],
                [1.0, 1.0, math.sqrt(length / 2)])


# ---- timing ---------------------------------------------------------------------------------

def seconds_of(step, device, warmup, steps):
    """-> (median, fastest): a median far above the fastest means that the machine was busy."""
    times = []
    for i in range(warmup + steps):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if i >= warmup:
            times.append(time.perf_counter() - start)
    return statistics.median(times), min(times)


def report(**fields):
    fields.update(torch=torch.__version__, threads=torch.get_num_threads(),
                  load_average=round(os.getloadavg()[0], 2))
    print(json.dumps(fields), flush=True)


def bench_scan(args):
    sequences, length, order = args.shape
    m = torch.eye(order) + 0.01 * torch.randn(length, sequences, order, order)
    m = m.to(args.device).requires_grad_()
    grad = torch.randn_like(m)
    for scan in args.scan or SCANS:
        def forward():
            with torch.no_grad():
                SCANS[scan]((m,), matrix_product)

        def forward_backward():
            m.grad = None
            MatmulScan.apply(m, scan).backward(grad)

        times = [seconds_of(f, args.device, args.warmup, args.steps)
                 for f in (forward, forward_backward)]
        report(peer=f"pytorch-{scan}", shape=args.shape, device=args.device,
               forward_ms=round(times[0][0] * 1e3, 3),
               forward_backward_ms=round(times[1][0] * 1e3, 3),
               fastest_ms=[round(fastest * 1e3, 3) for _, fastest in times])


def bench_train(args):
    order = 8
    tokens = torch.randint(65, (args.batch, args.length + 1), device=args.device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def bench(mode, scan):
        torch.manual_seed(0)
        model = LanguageModel(65, 256, 4, order, ["mru"] + ["mlp"] * 4, args.scheme, scan, 0.2)
        model.to(args.device)
        groups, clips = model.optimizer_groups(args.length, order, 1e-3)
        adamw = torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-8, fused=True)
        loss_of = torch.compile(model) if mode == "compiled" else model

        def step():
            adamw.zero_grad()
            loss_of(inputs, targets).backward()
            for group, clip in zip(adamw.param_groups, clips):
                nn.utils.clip_grad_norm_(group["params"], clip)
            adamw.step()

        median, fastest = seconds_of(step, args.device, args.warmup, args.steps)
        report(peer=f"pytorch-{mode}", tokens_per_second=round(args.batch * args.length / median),
               step_ms=round(median * 1e3, 2), fastest_step_ms=round(fastest * 1e3, 2),
               scheme=args.scheme, scan=scan, batch=args.batch, length=args.length,
               device=args.device)

    for scan in args.scan or SCANS:
        bench("eager", scan)
    # A loop of T steps is left out of the default: it takes minutes to compile.
    for scan in args.scan or ("brent_kung", "chunked"):
        try:
            bench("compiled", scan)
        except Exception as error:  # whatever torch.compile meets without a working compiler
            print(f"torch.compile is unavailable here, skipped: {error!r:.300}", file=sys.stderr)
            break


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    scan = commands.add_parser("scan")
    for command in (train, scan):
        command.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--warmup", type=int, default=3)
        command.add_argument("--steps", type=int, default=15)
        command.add_argument("--scan", nargs="+", choices=list(SCANS), help="default: each in turn")
    train.add_argument("--scheme", default="identity", choices=["identity", "ldu"])
    train.add_argument("--batch", type=int, default=16)
    train.add_argument("--length", type=int, default=256)
    scan.add_argument("--shape", required=True, help="S,T,d",
                      type=lambda s: [int(v) for v in s.split(",")])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    verify_scans()
    {"train": bench_train, "scan": bench_scan}[args.command](args)


if __name__ == "__main__":
    main()
