"""Each path through a GPU once: does it hold what the CPU's does? A line a check.

    python benchmarks/gpu_check.py [CHECK ...] [--jobs N] [--published FOLDER] [--out FOLDER] [--device cpu --quick]

Each check is a process of its own, so that one that crashes spares the others; ``--jobs`` of them run at once. The
table is kept as OUT/checks.md and .csv. Ends with status 1 if one does not hold; without a GPU it says so and ends with
0. ``--published`` names a folder with IMDN_x3.pth, PANx4_DF2K.pth and Set5/, as their authors publish them.
``--device cpu --quick`` tries the checks themselves at a small size.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import BLOCKS, ROOT, How, Table, command
from feeding import make_images
from PIL import Image
from steps import Case, Work
from training import task_of, train_task
from whole_images import MEMORY_GIB

from multiblock.data.imageset import ImageSet
from multiblock.data.pixels import as_float
from multiblock.data.sampler import Sampler
from multiblock.errors import UserError
from multiblock.inference import tiles
from multiblock.inference.metrics import psnr_rgb
from multiblock.model.chain import Chain
from multiblock.networks import zoo
from multiblock.runtime.device import Device, choose

_HELD, _FAILED, _LEFT_OUT = 0, 1, 3


class NotHeld(Exception):
    """What a check found to be otherwise; its text is for the table."""


class LeftOut(Exception):
    """Why a check cannot be made here."""


@dataclass(frozen=True)
class Options:
    """What the checks are told beside how to measure: the folder with published weights."""

    how: How
    published: Path | None


def require(holds: bool, what: str) -> None:
    """End the check unless ``holds``."""
    if not holds:
        raise NotHeld(what)


# -- One step ----------------------------------------------------------------------------------------------------------

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


# -- Training ----------------------------------------------------------------------------------------------------------

_STAGES: tuple[dict[str, Any], ...] = (
    {"iterations": 30, "batch": 4, "patch": 32, "lr": 1e-3, "clamp": "none"},
    {"iterations": 30, "batch": 6, "patch": 24, "lr": 5e-4, "loss": "l2", "parts": {"head": {"freeze": 10}}},
    {"iterations": 20, "batch": 4, "patch": 32, "lr": 2e-4, "ema": 0.9, "clip": 0.1},
)
"""Another clamp, batch, loss and patch in each; a part that is frozen for a while; an average of the weights."""

_SGD = tuple({**stage, "optimiser": "sgd", "lr": 20 * stage["lr"]} for stage in _STAGES)
"""The same by plain gradient descent: Adam divides small gradients by themselves, and so their rounding too."""


def change_of_stage(options: Options) -> str:
    """A training of three stages, compiled anew for each, beside the same one eager: losses stay together."""
    eager, compiled = (
        _record(_train(options, compile, {"precision": "float32", "compile": compile}, BLOCKS["default"], _SGD))
        for compile in ("never", "always")
    )
    stages = [one["compiled"] for one in compiled["segments"][-1]["stages"]]
    require(all(stages), f"compiled were {stages}")
    ours, theirs = (np.array(_losses(options, compile)) for compile in ("always", "never"))
    apart = float(np.abs(ours / theirs - 1).max())
    require(apart < 2e-3, f"losses are up to {apart:.2%} apart")
    gain = abs(compiled["psnr_rgb_validation"] - eager["psnr_rgb_validation"])
    require(gain < 1e-3, f"PSNR of validation images is {gain:.3f} dB apart")
    return f"{len(stages)} compiled pieces; losses at most {apart:.1e} apart, PSNR {gain:.4f} dB"


def kill(options: Options) -> str:
    """Killed (-9) within each stage and started again, with ``deterministic``: the bytes of one never disturbed."""
    done = []
    for compile in ("auto", "always"):
        keywords = {"compile": compile, "deterministic": True, "checkpoint_seconds": 0}
        whole = _trained(options, f"{compile} whole", keywords)
        name, kills = f"{compile} killed", 0
        for stop in (12, 45, 70) if compile == "auto" else (45,):
            kills += _killed_after(stop, options, name, keywords)
        out = _trained(options, name, keywords)
        for file in ("weights.safetensors", "history.csv"):
            require((out / file).read_bytes() == (whole / file).read_bytes(), f"compile {compile}: {file} differs")
        segments = len(_record(out)["segments"])
        require(segments > 1, "it was never interrupted")
        done.append(f"compile {compile}: {kills} kills, {segments} stretches")
    return "; ".join(done) + ": the same bytes"


def two_jobs(options: Options) -> str:
    """Two processes at once on one GPU: both end, with the same bytes, and one says that it shares."""
    started = [_start(options, f"job {number}", {"deterministic": True}) for number in (1, 2)]
    for process in started:
        process.join()
        require(process.exitcode == 0, f"a process ended with {process.exitcode}")
    made = [_out(options, f"job {number}") for number in (1, 2)]
    same = len({(out / "weights.safetensors").read_bytes() for out in made}) == 1
    require(same, "the same training on one GPU gave two results")
    reasons = [_record(out)["segments"][-1]["device_reason"] for out in made]
    alone = options.how.device == "cpu" or torch.cuda.device_count() > 1
    require(alone or any("shared with" in reason for reason in reasons), f"neither says that it shares: {reasons}")
    return f"the same bytes; {' / '.join(dict.fromkeys(reasons))}"


def memory_in_training(options: Options) -> str:
    """A batch that does not fit ends in one line."""
    _little_memory(options.how, gib=1)
    stage = {"iterations": 2, "batch": 64, "patch": 64, "lr": 1e-4}
    try:
        _train(options, "too large", {}, BLOCKS["MCAN"], (stage,))
    except UserError as error:
        require("\n" not in str(error) and "batch 64" in str(error), f"it says {error}")
        return str(error)
    raise NotHeld("a batch that needs more than the GPU has was trained")


def _out(options: Options, name: str) -> Path:
    return options.how.work / "trained" / name


def _trained(options: Options, name: str, keywords: Mapping[str, Any]) -> Path:
    return _train(options, name, keywords, BLOCKS["default"], _STAGES)


def _train(
    options: Options,
    name: str,
    keywords: Mapping[str, Any],
    block: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
) -> Path:
    """Train a block to leave photographs as they are."""
    pixels, out = options.how.work / "pixels", _out(options, name)
    for split in ("train", "validation"):
        if not (pixels / f"{split}.npy").exists():
            make_images(pixels, 160, 200, 3, split)
    out.mkdir(parents=True, exist_ok=True)
    train_task(task_of(block, stages), pixels, pixels, out, options.how, history_every=1, **keywords)
    return out


def _record(out: Path) -> dict[str, Any]:
    return json.loads((out / "training.json").read_text())


def _losses(options: Options, name: str) -> list[float]:
    rows = (_out(options, name) / "history.csv").read_text().splitlines()
    place = rows[0].split(",").index("loss")
    return [float(row.split(",")[place]) for row in rows[1:]]


def _start(options: Options, name: str, keywords: Mapping[str, Any]) -> Any:
    process = get_context("spawn").Process(target=_trained, args=(options, name, dict(keywords)))
    process.start()
    return process


def _killed_after(iterations: int, options: Options, name: str, keywords: Mapping[str, Any]) -> int:
    """Kill a training once it has a checkpoint of so many iterations; how many were killed, 0 or 1."""
    process = _start(options, name, keywords)
    while process.is_alive():
        steps = [int(file.stem.split("-")[0]) for file in _out(options, name).glob("working-*/[0-9]*-*.pt")]
        if max(steps, default=0) >= iterations:
            process.kill()
            break
        time.sleep(0.005)
    process.join()
    return int(process.exitcode == -signal.SIGKILL)


# -- Pixels and pictures -----------------------------------------------------------------------------------------------


def feeding(options: Options) -> str:
    """Patches of pixels that lie on the GPU, and of pixels that stay on the disk, are those of the CPU."""
    how = options.how
    make_images(how.work / "LR", 150, 210, 3)
    make_images(how.work / "HR", 300, 420, 3)
    sets = [ImageSet(how.work / name / "train.npy") for name in ("LR", "HR")]
    places = {"resident": (how.device, True), "mapped": (how.device, False), "cpu": ("cpu", False)}
    samplers = {
        name: Sampler(*sets, 2, seed=1, phase=1, device=torch.device(place), resident=resident)
        for name, (place, resident) in places.items()
    }
    batches = 20
    for iteration in range(batches):
        expected = samplers["cpu"].batch(iteration, 16, 48)
        for name, sampler in samplers.items():
            found = sampler.batch(iteration, 16, 48)
            same = all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))
            require(same, f"batch {iteration} of {name} pixels differs")
    return f"{batches} batches of 16 pairs are equal"


def evaluation(options: Options) -> str:
    """PSNR of a chain of three on photographs, after TF32 and bfloat16 were switched on, against the CPU's."""
    how, most = options.how, 0.0
    choose(how.device, "tf32", 1, how.threads)
    chain, images = _chain("MCAN", how, blocks=3), list(_photographs(how))
    for precision in ("tf32", "bfloat16"):
        device = choose(how.device, precision, 1, how.threads).device
        for image in images:
            target = as_float(image)
            scores = [
                psnr_rgb(tiles.run(chain.to(place), image, place, MEMORY_GIB), target)
                for place in (device, torch.device("cpu"))
            ]
            most = max(most, abs(scores[0] - scores[1]))
    require(most < 1e-3, f"PSNR RGB differs by {most:.5f} dB")
    return f"PSNR RGB of {len(images)} photographs: at most {most:.6f} dB apart"


def memory_in_inference(options: Options) -> str:
    """A picture that does not fit is made in smaller and smaller tiles, with the same pixels."""
    how = options.how
    if how.device == "cpu":
        raise LeftOut("the memory of a CPU is not made small for a try")
    device = choose(how.device, "float32", 1, how.threads).device
    chain, image = _chain("toy", how).to(device), _photograph(1400, 2000)
    whole, _ = tiles.infer(chain, image, device, MEMORY_GIB)
    torch.cuda.empty_cache()
    _little_memory(how, gib=1)
    tiled, tiling = tiles.infer(chain, image, device, MEMORY_GIB)
    require(tiling.tiles > 1, "it was not made in tiles")
    apart = float(np.abs(tiled - whole).max() * 255)
    require(apart < 0.5, f"pixel values differ by {apart:.2f} of 255")
    return f"{tiling}; pixel values at most {apart:.4f} of 255 apart"


def large_picture(options: Options) -> str:
    """24 megapixels through MCAN; and through a network that pools nothing, of which the CPU makes a part."""
    how = options.how
    height, width = (96, 144) if how.quick else (4000, 6000)
    device, image = choose(how.device, "float32", 1, how.threads).device, _photograph(height, width)
    chain = _chain("MCAN", how).to(device)
    begun = time.perf_counter()
    result, tiling = tiles.infer(chain, image, device, MEMORY_GIB)
    seconds = time.perf_counter() - begun
    require(bool(np.isfinite(result).all()), "it made pixels that are not finite")
    peak = torch.cuda.max_memory_allocated() / 2**30 if how.device == "cuda" else float("nan")
    chain = _chain("toy", how, blocks=2)
    whole, _ = tiles.infer(chain.to(device), image, device, MEMORY_GIB)
    part, seen = height // 2, sum(block.receptive_field for block in chain.blocks.values())  # type: ignore[misc]
    alone, _ = tiles.infer(chain.to("cpu"), image[part - 40 : part + 40, :200], torch.device("cpu"), MEMORY_GIB)
    inner = slice(seen // 2, 80 - seen // 2)
    there = whole[part - 40 : part + 40, :200][inner, : 200 - seen // 2]
    apart = float(np.abs(there - alone[inner, : 200 - seen // 2]).max() * 255)
    require(apart < 0.05, f"pixel values differ by {apart:.3f} of 255 from the CPU's")
    return (
        f"{width} x {height} through MCAN in {seconds:.1f} s, {tiling}, {peak:.1f} GiB of GPU memory at most; part of "
        f"one through a network that pools nothing: {apart:.5f} of 255 apart from the CPU's"
    )


PUBLISHED = {"imdn": ("IMDN_x3.pth", 3, 32.3218), "pan": ("PANx4_DF2K.pth", 4, 30.1349)}
"""File, scale, and PSNR RGB in dB on Set5 (floats, whole image, mean of 5) on a CPU: results/reference/published.md."""


def published(options: Options) -> str:
    """The published weights of IMDN and PAN have the CPU's scores on Set5."""
    folder, said = options.published, []
    if folder is None:
        raise LeftOut("no --published FOLDER")
    for network, (name, scale, psnr) in PUBLISHED.items():
        weights = options.how.work / f"{network}.safetensors"
        _multiblock("import", folder / name, "--as", network, "--scale", scale, "-o", weights)
        lr = folder / "Set5" / "LR_bicubic" / f"X{scale}"
        of_set = ("--hr", folder / "Set5" / "HR", "--lr", lr, "--lr-name", f"{{name}}x{scale}")
        text = _multiblock("evaluate", weights, *of_set, "--device", options.how.device)
        found = float(re.search(r"PSNR RGB, floats.* ([0-9.]+)\s*$", text, re.M)[1])  # type: ignore[index]
        require(abs(found - psnr) < 1e-3, f"{network}: {found:.4f} dB, on a CPU {psnr:.4f}")
        said.append(f"{network} x{scale} {found:.4f} dB (CPU: {psnr:.4f})")
    return "PSNR RGB on Set5: " + ", ".join(said)


def _multiblock(*arguments: object) -> str:
    done = subprocess.run([sys.executable, "-m", "multiblock", *map(str, arguments)], capture_output=True, text=True)
    require(done.returncode == 0, f"multiblock {arguments[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _chain(name: str, how: How, blocks: int = 1) -> Chain:
    torch.manual_seed(0)
    given = dict(BLOCKS["default" if how.quick and name == "MCAN" else name] if name in BLOCKS else {"network": name})
    spec = zoo.block(given.pop("network"), given, "blocks.checked")
    return Chain.build([spec] * blocks, [True] * blocks)


def _photograph(height: int, width: int) -> np.ndarray:
    image = Image.open(str(files("skimage").joinpath("data", "astronaut.png"))).convert("RGB")
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _photographs(how: How) -> list[np.ndarray]:
    folder = how.work / "photographs"
    make_images(folder, *((60, 80, 2) if how.quick else (400, 600, 4)))
    return list(ImageSet(folder / "train.npy"))


def _little_memory(how: How, gib: float) -> None:
    """Let this process have only so much of the GPU's memory."""
    if how.device == "cpu":
        raise LeftOut("the memory of a CPU is not made small for a try")
    torch.cuda.set_per_process_memory_fraction(gib * 2**30 / torch.cuda.get_device_properties(0).total_memory)


# -- All of them -------------------------------------------------------------------------------------------------------

CHECKS: Mapping[str, tuple[str, Callable[[Options], str]]] = {
    **{f"step {name}": (f"a step of {name}", lambda options, name=name: step(name, options)) for name in STEPS},
    "stages": ("compiled across a change of stage", change_of_stage),
    "kill": ("kill and resume within a stage", kill),
    "two_jobs": ("two jobs on one GPU", two_jobs),
    "feeding": ("patches are the CPU's", feeding),
    "evaluation": ("evaluation is float32 as IEEE has it", evaluation),
    "memory_training": ("out of memory in training: one line", memory_in_training),
    "memory_inference": ("out of memory in inference: smaller tiles", memory_in_inference),
    "large": ("a picture of 24 megapixels", large_picture),
    "published": ("published weights of IMDN and PAN", published),
}
"""What each check asks, and how."""


def main() -> None:
    """Make the checks and keep their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"{', '.join(CHECKS)}; all if none is named")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="at a tiny size, only to see that they run")
    parser.add_argument("--jobs", type=int, default=4, help="checks at once")
    parser.add_argument("--published", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # makes the one check here, in this folder
    given = parser.parse_args()
    if unknown := set(given.checks) - set(CHECKS):
        parser.error(f"unknown check {', '.join(sorted(unknown))}; known are {', '.join(CHECKS)}")
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing to check")
        return
    how = How(1, max(1, torch.get_num_threads() // given.jobs), given.device, given.quick, given.work or Path())
    if given.work:
        sys.exit(_check(given.checks[0], Options(how, given.published)))
    sys.exit(_check_all(given.checks or list(CHECKS), how, given.jobs, given.published, given.out))


def _check(name: str, options: Options) -> int:
    """Make one check; its last line says what was found."""
    try:
        print(CHECKS[name][1](options))
    except LeftOut as error:
        print(error)
        return _LEFT_OUT
    except NotHeld as error:
        print(error)
        return _FAILED
    return _HELD


def _check_all(names: list[str], how: How, jobs: int, published: Path | None, out: Path) -> int:
    """Make checks in processes of their own, say each, and keep the table; the exit status."""
    verdicts = {_HELD: "held", _LEFT_OUT: "left out"}
    with tempfile.TemporaryDirectory(prefix="multiblock-gpu-") as work, ThreadPoolExecutor(jobs) as pool:
        make = {
            name: pool.submit(_process, name, replace(how, work=Path(work) / name), published, jobs) for name in names
        }
        rows = []
        for name, made in make.items():
            status, said, log, seconds = made.result()
            verdict = verdicts.get(status, "NOT HELD")
            print(f"{verdict:9}{CHECKS[name][0]}: {said} [{seconds:.0f} s]", flush=True)
            if verdict == "NOT HELD":
                print(log, flush=True)
            rows.append({"check": CHECKS[name][0], "verdict": verdict, "found": said, "seconds": f"{seconds:.0f}"})
    held = sum(row["verdict"] == "held" for row in rows)
    note = f"{held} of {len(rows)} held, {sum(row['verdict'] == 'left out' for row in rows)} left out."
    about = "Each path through the device once, against what it is to agree with."
    Table("checks", about, rows, [note], timed=False).write(
        out, command().replace("benchmarks", "benchmarks/gpu_check.py"), how
    )
    return int(any(row["verdict"] == "NOT HELD" for row in rows))


def _process(name: str, how: How, published: Path | None, jobs: int) -> tuple[int, str, str, float]:
    """Exit status of a check, its last line, all that it said, and its seconds."""
    how.work.mkdir()
    arguments = [name, "--device", how.device, "--work", how.work, "--jobs", jobs]
    arguments += ["--quick"] * how.quick + (["--published", published] if published else [])
    begun = time.monotonic()
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["it said nothing"]
    said = lines[-1] if done.returncode in (_HELD, _FAILED, _LEFT_OUT) else f"ended with status {done.returncode}"
    if done.returncode == _FAILED and not done.stdout.strip():
        said = done.stderr.strip().splitlines()[-1]
    return done.returncode, said, (done.stdout + done.stderr)[-3000:], time.monotonic() - begun


if __name__ == "__main__":
    main()
