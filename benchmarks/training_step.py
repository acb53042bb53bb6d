"""Time of one training step and of one batch, for blocks of several sizes. Prints a Markdown table.

    python benchmarks/training_step.py [mcan | carn] [--threads N] [--repeats N]

A step is forward, loss, backward and Adam on a batch that is there already. Feeding is what the sampler takes for
such a batch from a memory-mapped set. Blocks take turns, so that a change of the machine's speed hits all alike;
the first two rounds are not counted.
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from multiblock import networks, zoo
from multiblock.data.imageset import ImageSet, Writer
from multiblock.data.sampler import Sampler

MCAN = {
    "default (mcan 16 x 2)": ("mcan", {"channels": 16, "residual_blocks": 2}, 16, 32),
    "city100 (mcan 24 x 4)": ("mcan", {"channels": 24, "residual_blocks": 4}, 16, 48),
    "mcan (64 x 16)": ("mcan", {}, 16, 48),
}
# The CARN study's table of times: a batch as in the study's short form, three patches of half the side.
CARN = {
    f"carn {name}": (f"carn_full_v2_se_{name}", {}, 3, 64)
    for name in ("res_bilinear", *(f"res_bilinear_V2_group{groups}" for groups in (4, 2, 1)))
}
SETS = {"mcan": MCAN, "carn": CARN}
WARM_UP = 2


def image_set(folder: Path) -> ImageSet:
    """Eight noise images of 1400 x 2000 pixels."""
    rng = np.random.default_rng(0)
    with Writer(folder / "train.npy", [(1400, 2000)] * 8) as writer:
        for number in range(8):
            writer.add(f"image{number}", rng.integers(0, 256, (1400, 2000, 3), dtype=np.uint8))
    return ImageSet(folder / "train.npy")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", choices=SETS, default="mcan", help="which blocks")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    with tempfile.TemporaryDirectory() as folder:
        images = image_set(Path(folder))
        sampler = Sampler(images, images, 1, seed=1, phase=1)
        blocks = SETS[options.set]
        specs = {name: zoo.sample(network, **given) for name, (network, given, _, _) in blocks.items()}
        built = {name: networks.build(spec.network, spec.options) for name, spec in specs.items()}
        optimisers = {name: torch.optim.Adam(block.parameters(), 1e-4) for name, block in built.items()}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in blocks}
        for repeat in range(WARM_UP + options.repeats):
            for name, (_, _, batch, patch) in blocks.items():
                begun = time.perf_counter()
                inputs, targets = sampler.batch(repeat, batch, patch)
                fed = time.perf_counter()
                enlarged = targets.repeat_interleave(specs[name].scale, 2).repeat_interleave(specs[name].scale, 3)
                loss = F.l1_loss(built[name](inputs), enlarged)
                optimisers[name].zero_grad(set_to_none=True)
                loss.backward()
                optimisers[name].step()
                times[name].append((fed - begun, time.perf_counter() - fed))

    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}, ")
    print(f"median (minimum to maximum) of {options.repeats} after {WARM_UP} that do not count\n")
    print("| block | batch | step [ms] | over the first | feeding [ms] | feeding's share |")
    print("|---|---|---|---|---|---|")
    first = statistics.median(step for _, step in times[next(iter(blocks))][WARM_UP:])
    for name, (_, _, batch, patch) in blocks.items():
        feeding, steps = ([1000 * value for value in column] for column in zip(*times[name][WARM_UP:], strict=True))
        step, feed = statistics.median(steps), statistics.median(feeding)
        print(
            f"| {name} | {batch} x {patch} x {patch} | {step:.1f} ({min(steps):.1f} to {max(steps):.1f}) "
            f"| {step / first / 1000:.2f} | {feed:.2f} | {feed / (step + feed):.1%} |"
        )


if __name__ == "__main__":
    main()
