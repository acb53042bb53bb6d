"""Checks of a GPU: one training step of each family of networks."""

from collections.abc import Mapping

import torch
from bench import BLOCKS
from checks import Options, require
from steps import Case, Work

from multiblock.runtime.device import Device, choose

STEPS: Mapping[str, tuple[Case, Case]] = {
    "mcan": (Case(BLOCKS["MCAN"], 1, 16, 48), Case(BLOCKS["default"], 1, 2, 16)),
    "carn": (
        Case({"network": "carn_full_v2_se"}, 1, 16, 48),
        Case({"network": "carn_full_v2_se_32_channels"}, 1, 2, 16),
    ),
    "imdn": (Case({"network": "imdn"}, 1, 16, 48), Case({"network": "imdn_rtc"}, 1, 2, 16)),
    "rcan": (
        Case({"network": "rcan", "groups": 3, "blocks": 4}, 1, 16, 48),
        Case({"network": "rcan", "groups": 1, "blocks": 1, "channels": 16}, 1, 2, 16),
    ),
    "sr_resunet": (
        Case({"network": "sr_resunet_1", "encoder_weights": "random"}, 1, 16, 128),
        Case({"network": "sr_resunet_1", "encoder_weights": "random"}, 1, 4, 128),
    ),
}
"""A network of each family, at full size and for a try."""

_SUMMED_OTHERWISE, _BFLOAT16 = 2e-3, 0.15
"""Parts of a gradient by which float32 sums in another order, and bfloat16, may differ from float32. Or, as batch norms
of few pixels are badly conditioned, three times what two memory layouts make in float32, and 2^16 times as much in
bfloat16, which has 8 bits for 24."""


def step(network: str, options: Options) -> str:
    """Loss and gradients of a step: eager and compiled, float32 and bfloat16, against eager float32."""
    how = options.how
    full, small = STEPS[network]
    case = small if how.quick else full
    plain, fast = (choose(how.device, precision, 1, how.threads) for precision in ("float32", "bfloat16"))
    ways = {
        "float32": (plain, "contiguous", "never"),
        "float32 channels last": (plain, "channels_last", "never"),
        "float32 compiled": (plain, "auto", "always"),
        "bfloat16": (fast, "auto", "never"),
        "bfloat16 compiled": (fast, "auto", "always"),
    }
    reference: tuple[float, torch.Tensor] | None = None
    apart, said = {}, []
    for way, (device, layout, compile) in ways.items():
        loss, gradient = _gradient(case, device, layout, compile)
        if reference is None:
            reference = loss, gradient
            continue
        apart[way] = float((gradient - reference[1]).norm() / reference[1].norm())
        said.append(f"{way} {apart[way]:.1e}")
        noise = 3 * apart["float32 channels last"]
        bound = max(_BFLOAT16, 2**16 * noise) if device is fast else max(_SUMMED_OTHERWISE, noise)
        off = abs(loss / reference[0] - 1)
        require(apart[way] <= bound and off <= bound, f"{way}: gradient {apart[way]:.2e} apart, loss {off:.2e}")
    twice = max(2 * apart["bfloat16"], 1e-2)
    require(apart["bfloat16 compiled"] <= twice, f"compiled bfloat16 is further off than eager: {', '.join(said)}")
    return "gradients apart from float32's: " + ", ".join(said)


def _gradient(case: Case, device: Device, layout: str, compile: str) -> tuple[float, torch.Tensor]:
    device = device.with_precision(device.precision, "checked")
    work = Work(case.task(), device, layout, compile)
    for _ in range(2):  # what a CUDA graph replays is looked at
        loss = work.gradients(work.inputs, work.targets)[0]
    parts = [p.grad.flatten().double().cpu() for p in work.span.parameters() if p.grad is not None]
    return float(loss), torch.cat(parts)
