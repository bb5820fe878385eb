"""What FED-C and FED-U cost beside the published computation, both in one run.

    python benchmarks/fed.py [--size 256 512] [--repeat 3] [--threads 1] [--device cpu|cuda]

``published`` follows the published code: the condition is brought to the size of the score, and the network of every
block is evaluated under both of its names. ``ours`` is ``bench.fit.flow``. Both have the same random weights and must
give the same scores. Seconds are of the processor on a CPU and of the clock on a GPU, the median of the repetitions.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.fit.flow.published import PublishedBlock, PublishedFlow


def published(flow: PublishedFlow, z: Tensor, condition: Tensor | None) -> Tensor:
    """The computation as the published code orders it; the outcome is that of ``flow``."""
    large = None
    if condition is not None:
        large = functional.interpolate(condition, size=z.shape[-2:], mode="bilinear", align_corners=False)
    x, volume = z, torch.zeros_like(z)
    for block in flow._each():
        x, volume = _block(block, x, volume, large)
    diagonal = 1.4427 * functional.softplus(flow.factor[:2])
    away = x - flow.centre.view(-1, 1, 1)
    first, second = diagonal[0] * away[:, :1], flow.factor[2] * away[:, :1] + diagonal[1] * away[:, 1:]
    inside = (-functional.softplus(flow.weight) + diagonal.log()).view(-1, 1, 1)
    return volume + inside - 0.5 * torch.cat([first, second], dim=1) ** 2


def _block(block: PublishedBlock, x: Tensor, volume: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
    mask = torch.tensor([0.0, 1.0] if block.kept else [1.0, 0.0], device=x.device).view(1, 2, 1, 1)
    x = functional.conv2d(block.norm(x), block.mix[:, :, None, None])
    constant = torch.linalg.slogdet(block.mix)[1] - functional.softplus(block.norm.log_scale)
    volume = volume + constant.view(-1, 1, 1)
    seen = x if condition is None else torch.cat([x * mask, block.condition_norm(condition)], dim=1)
    scale, shift = _network(block, seen), _network(block, seen)
    x = x * mask + (1 - mask) * (x * torch.sigmoid(-scale) + shift)
    volume = volume - (1 - mask) * functional.softplus(scale)
    linear = functional.conv2d(x * mask, block.gate_weight[:, :, None, None], block.gate_bias)
    q, gate = linear.mean(dim=1, keepdim=True), block.gate.view(1, 2, 1, 1)
    x = x * ((1 - mask) * torch.sigmoid(-q) + mask * torch.sigmoid(-gate))
    return x, volume - functional.softplus(q) - mask * functional.softplus(gate)


def _network(block: PublishedBlock, seen: Tensor) -> Tensor:
    net = block.net
    hidden = functional.conv2d(seen, net.first.weight, net.first.bias).sigmoid()
    hidden = functional.conv2d(functional.pad(hidden, (3, 3, 3, 3), mode="reflect"), net.middle.weight, net.middle.bias)
    return functional.conv2d(hidden.sigmoid(), net.last.weight, net.last.bias)


class Counted(TorchDispatchMode):
    """Multiply-adds of convolutions and of bilinear upsampling; the largest tensor that came out of an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.work, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        out = function(*arguments, **(named or {}))
        if function is torch.ops.aten.convolution.default:
            self.work += out.numel() * arguments[1][0].numel()
        elif function is torch.ops.aten.upsample_bilinear2d.vec:
            self.work += 4 * out.numel()
        elif function is torch.ops.aten.index_select.default:
            self.work += 2 * out.numel()
        if isinstance(out, Tensor):
            self.largest = max(self.largest, out.numel() * out.element_size())
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), help="of the score; logits are a quarter")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    size = tuple(given.size)
    small = (size[0] // 4, size[1] // 4)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, torch {torch.__version__}, {given.device}, {given.threads} thread(s)")
    print(f"score {size[0]} x {size[1]}, condition {small[0]} x {small[1]}, 8 blocks\n")
    print("| flow | upsampled | side | G multiply-adds | largest tensor, MB | seconds | of published |")
    print("| :--- | :--- | :--- | ---: | ---: | ---: | ---: |")
    for name, channels in (("FED-U", 0), ("FED-C", 32)):
        for place in ("before", "after"):
            compare(name, channels, place, size if place == "before" else small, small, given)


def compare(
    name: str, channels: int, place: str, size: tuple[int, ...], small: tuple[int, int], given: argparse.Namespace
) -> None:
    torch.manual_seed(0)
    flow = PublishedFlow(8, channels).to(given.device).eval()
    z = torch.randn(1, 2, *size, device=given.device)
    condition = torch.randn(1, channels, *small, device=given.device) if channels else None
    sides: dict[str, Callable[[], Tensor]] = {
        "published": lambda: published(flow, z, condition),
        "ours": lambda: flow(z, condition),
    }
    with torch.no_grad():
        outcomes = {side: call() for side, call in sides.items()}
        torch.testing.assert_close(outcomes["ours"], outcomes["published"], rtol=1e-4, atol=1e-4)
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(given.repeat):  # in turns, so that a busy machine is equally busy for both
            for side, call in sides.items():
                seconds[side].append(timed(call, given.device))
        for side, call in sides.items():
            with Counted() as count:
                call()
            median, whole = statistics.median(seconds[side]), statistics.median(seconds["published"])
            figures = f"{count.work / 1e9:.2f} | {count.largest / 1e6:.1f} | {median:.3f} | {median / whole:.2f}"
            print(f"| {name} | {place} | {side} | {figures} |", flush=True)


def timed(call: Callable[[], Tensor], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    before = clock()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - before


if __name__ == "__main__":
    main()
