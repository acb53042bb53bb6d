"""Turn a run's chain and phases into its plan: names that refer to one another are resolved and checked here."""

import logging
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from multiblock.config.rules import expanded, key
from multiblock.config.sizing import resized
from multiblock.errors import Problems, UserError, listed, nearest
from multiblock.model import metadata
from multiblock.networks import registry, zoo
from multiblock.plan import RANDOM, Block, Phase, Plan, Stage, format_span, is_file, parse_span, split_file
from multiblock.training import optimisers, schedules
from multiblock.training.losses import LOSSES, VGG16_FILE
from multiblock.training.starts import STARTS

log = logging.getLogger(__name__)

_ENDINGS = ".safetensors, .pth or .pt"


def plan(run: Mapping[str, Any], place: str, scale: int | None, full: Mapping[str, Any]) -> Plan:
    """The plan of the run that the config has at ``place``, on data of the given scale, if that is known.

    The iterations of a run that is sized by another are as they are written: see :mod:`multiblock.config.sizing`.

    Raises:
        UserError: an unknown name, a file that is not there, or phases that do not fit the chain.
    """
    blocks, name, problems = full["blocks"], place.partition(".")[2], Problems()
    chain, phases, files = list[Block](), list[Phase](), dict[int, str]()
    for number, one in enumerate(run["chain"]):
        with problems.noted():
            if one not in blocks:
                hint = nearest(one, blocks)
                raise UserError(f"{place}.chain: unknown block '{one}'{hint}; known are {listed(blocks)}")
            made, file = block(one, full, scale or 1 if number == 0 else 1)  # the first one enlarges, if it can
            chain.append(made)
            if file:
                files[number + 1] = file.removesuffix(f"#{number + 1}")  # which it takes unasked
    for number, phase in enumerate(run["plan"]):
        with problems.noted():
            at = ("runs", name, "plan", number)
            phases.append(_phase({"gpus": run["gpus"], **phase}, at, full, "equal_to" in run))
    problems.end()
    try:
        found = Plan(blocks=tuple(chain), phases=tuple(phases), files=files)
    except UserError as error:
        raise UserError(*(f"{place}.{problem}" for problem in error.problems)) from None
    if scale and found.scale not in (1, scale):
        raise UserError(
            f"{place}.chain: block 1 enlarges x{found.scale}, but the data's scale is {scale}; "
            f"allowed are a block that keeps the size or enlarges x{scale}"
        )
    return found


def block(name: str, full: Mapping[str, Any], scale: int = 1) -> tuple[Block, str | None]:
    """The block that the config calls ``name``, and the file that it starts from, if it has one.

    Args:
        scale: what it enlarges by if the config does not say.

    Raises:
        UserError: an unknown network or option, or a file of weights that is not there, or cannot be read as one.
    """
    place, options = f"blocks.{name}", dict(full["blocks"][name])
    if "file" in options:
        return _block_of_file(options, place, scale)
    if "network" not in options:
        near = (f"; found '{one}'{hint}" for one in options if (hint := nearest(one, ("network", "file"))))
        raise UserError(f"{place}: key 'network' is missing, or 'file'{next(near, '')}")
    network = options.pop("network")
    for option, value in options.items():
        if option.endswith("_weights") and isinstance(value, str):
            try:
                options[option] = expanded(value)
            except UserError as error:
                raise UserError(f"{place}.{option}: {error}") from None
    built = zoo.block(network, options, place, scale)
    for option, value in built.options.items():
        if value in built.files:
            needs_file(value, f"{place}.{option}", registry.explanations(built.network).get(option, ""))
    return built, None


def _block_of_file(given: Mapping[str, Any], place: str, scale: int) -> tuple[Block, str]:
    """The block that a file of weights holds, and the file as the start of a phase names it."""
    start = given["file"]
    if others := [option for option in given if option not in ("file", "scale")]:
        raise UserError(f"{place}: found {listed(others)} beside file, which says itself of what network it is")
    if not is_file(start):
        raise UserError(f"{place}.file: found {start}; allowed is a file that ends in {_ENDINGS}, or FILE#2")
    file, number = split_file(start)
    needs_file(file, f"{place}.file")
    try:
        known = about_file(Path(file), given.get("scale", scale))
        if number is None and len(known.blocks) > 1:
            each = listed(f"{file}#{k} ({known.block(k).network})" for k in known.numbers)
            raise UserError(f"{file}: holds several blocks; allowed is one of {each}")
        metadata.check_has(known, number or known.first, Path(file))
    except UserError as error:
        raise UserError(f"{place}.file: {error}") from None
    held = known.block(number or known.first)
    if metadata.is_code(held.network):
        raise UserError(
            f"{place}.file: {file} names the code of {held.network}, which runs only if the config names it; allowed "
            f"is network: {held.network}, and start: {start} of the block's phase"
        )
    options = {name: RANDOM if name.endswith("_weights") else value for name, value in held.options.items()}
    if given.get("scale", held.scale) != held.scale:
        raise UserError(f"{place}.scale: found {given['scale']}; {file} holds {held.network} x{held.scale}")
    return Block(network=held.network, options=options), f"{file}#{number or known.first}"


def needs_file(file: str, place: str, wanted: str = "") -> None:
    """Refuse a file that is not there, or that Snakemake could not name."""
    if not os.path.isfile(file):  # Path.is_file raises where a name is too long
        raise UserError(f"{place}: {file}: no such file{'; wanted is: ' if wanted else ''}{wanted}")
    if "{" in file or "}" in file:
        raise UserError(f"{place}: found {file}; allowed are names without braces, which Snakemake reads as wildcards")


def _phase(phase: Mapping[str, Any], place: tuple[Any, ...], full: Mapping[str, Any], as_written: bool) -> Phase:
    problems, stages, start, span = Problems(), list[Stage](), phase["start"], range(0)
    with problems.noted():
        first, last = parse_span(phase["span"], key(*place, "span"))
        span = range(first, last + 1)
    with problems.noted():
        if is_file(start):
            needs_file(split_file(start)[0], key(*place, "start"))
        elif start not in STARTS:
            raise UserError(
                f"{key(*place, 'start')}: found {start!r}{nearest(start, STARTS)}; allowed are {listed(STARTS)}, "
                f"a file that ends in {_ENDINGS}, or its block k as FILE#k"
            )
    with problems.noted():
        given, where = stages_of(phase, place, full)
        for number, stage in enumerate(given if span else ()):
            with problems.noted():
                stages.append(_stage(stage, key(*where, number), full, span, as_written))
    problems.end()
    return Phase(first=span[0], last=span[-1], start=start, stages=tuple(stages), gpus=phase["gpus"])


def stages_of(
    phase: Mapping[str, Any], place: tuple[Any, ...], full: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
    """The stages of the phase at ``place``, its own or those of a recipe, and their place.

    Raises:
        UserError: there is no such recipe.
    """
    stages, recipes = phase["stages"], full["recipes"]
    if not isinstance(stages, str):
        return stages, (*place, "stages")
    if stages not in recipes:
        hint = nearest(stages, recipes)
        raise UserError(f"{key(*place, 'stages')}: unknown recipe '{stages}'{hint}; known are {listed(recipes)}")
    return recipes[stages], ("recipes", stages)


def _stage(stage: Mapping[str, Any], place: str, full: Mapping[str, Any], span: range, as_written: bool) -> Stage:
    """A stage with all its options in a fixed order, made smaller where the study is shrunk.

    What means the same for blocks ``span`` is the same stage.

    Args:
        as_written: whether its iterations stay as they are all the same.
    """
    shrink, problems, iterations, warmup = full["shrink"], Problems(), stage["iterations"], stage.get("warmup", 0)
    options, schedule = optimisers.filled(stage["optimiser"], stage["options"]), schedules.filled(stage["schedule"])
    with problems.noted():
        loss, vgg16 = _loss(stage["loss"], place, full["training"].get("vgg16"))
    with problems.noted():
        intermediate = _intermediate(stage.get("intermediate", 0), place, span)
    if "recompute" in stage:
        with problems.noted():
            _check_recompute(place, span, full["compile"])
    if "accumulate" in stage:
        with problems.noted():
            _check_accumulate(place, stage, full["compile"])
    if wrong := optimisers.OPTIMISERS[stage["optimiser"]].wrong(options):
        problems.found.append(f"{place}, options{wrong}")
    if schedule and (wrong := schedules.SCHEDULES[schedule["kind"]].wrong(schedule, stage["lr"])):
        problems.found.append(f"{place}, schedule{wrong}")
    if warmup > iterations:
        problems.found.append(
            f"{place}, warmup: found {warmup}; allowed is at most the stage's {iterations} iterations"
        )
    problems.end()
    clamp = {True: "all", False: "none"}.get(stage["clamp"], stage["clamp"])
    made = {
        "clamp": "all" if clamp == "last" and len(span) == 1 else clamp,
        "intermediate": intermediate,
        "clip": float(stage["clip"]) if "clip" in stage else None,
        "lr": float(stage["lr"]),
        "batch": min(stage["batch"], shrink.get("batch", stage["batch"])),
        "patch": min(stage["patch"], shrink.get("patch", stage["patch"])),
        "loss": loss,
        "options": options,
        "schedule": schedule,
        "parts": {name: dict(sorted(part.items())) for name, part in sorted(stage["parts"].items())},
        "vgg16": vgg16,
    }
    whole = Stage(**{**stage, **made})
    fewer = min(math.ceil(iterations * shrink["iterations"]), shrink.get("max_iterations", iterations))
    return whole if as_written else resized(whole, fewer)


def _intermediate(weights: float | list[float], place: str, span: range) -> list[float]:
    """The weight of the loss of each block of a span before its last; none where all are 0."""
    if weights in (0, []):
        return []
    if len(span) == 1:
        raise UserError(
            f"{place}, intermediate: found {weights} for span {span[0]}, which has no block before its last; "
            "allowed is a span of several blocks"
        )
    given = weights if isinstance(weights, list) else [weights] * (len(span) - 1)
    if len(given) != len(span) - 1:
        raise UserError(
            f"{place}, intermediate: found {len(given)} weights for span {format_span(span[0], span[-1])}; allowed are "
            f"{len(span) - 1}, one for each block before the last"
        )
    return [float(weight) for weight in given] if any(given) else []


def _check_recompute(place: str, span: range, compile: str) -> None:
    """See that computing blocks again saves memory, and changes nothing else.

    Raises:
        UserError: the span is one block, or it may be compiled or recorded, in which the backward pass is fixed.
    """
    if len(span) == 1:
        raise UserError(
            f"{place}, recompute: found blocks for span {span[0]}, all of which would be needed at once; allowed is a "
            "span of several blocks"
        )
    _check_not_compiled(f"{place}, recompute: found blocks", compile)


def _check_accumulate(place: str, stage: Mapping[str, Any], compile: str) -> None:
    """See that a batch can be computed in parts.

    Raises:
        UserError: it has fewer rows, or the stage may be compiled or recorded for whole batches.
    """
    if stage["accumulate"] != "auto" and stage["accumulate"] > stage["batch"]:
        raise UserError(
            f"{place}, accumulate: found {stage['accumulate']}; allowed is at most the batch of {stage['batch']}"
        )
    _check_not_compiled(f"{place}, accumulate: found {stage['accumulate']}", compile)


def _check_not_compiled(found: str, compile: str) -> None:
    """See that a stage is computed as it is written.

    Raises:
        UserError: it may be compiled or recorded.
    """
    if compile != "never":
        raise UserError(
            f"{found} beside compile: {compile}, by which a stage may be compiled or recorded as a CUDA graph; allowed "
            "is compile: never"
        )


def _loss(loss: str | Mapping[str, float], place: str, vgg16: str | None) -> tuple[dict[str, float], str | None]:
    """The weights of a stage's terms, in the registry's order, and the file of VGG-16 if a term looks through it."""
    given = {loss: 1.0} if isinstance(loss, str) else loss
    weights = {term: float(given[term]) for term in LOSSES if term in given}
    alone = [term for term, entry in LOSSES.items() if entry.alone]
    if not any(weights.get(term) for term in alone):
        raise UserError(
            f"{place}, loss: found {listed(f'{term}: {weight:g}' for term, weight in weights.items())}; "
            f"at least one of {listed(alone)} is needed, with a weight above 0"
        )
    perceptual = [term for term in weights if LOSSES[term].on_features]
    if not perceptual:
        return weights, None
    if vgg16 is None:
        raise UserError(
            f"{place}, loss: {listed(perceptual)} needs VGG-16; set training.vgg16 to the path of {VGG16_FILE}, "
            "as torchvision publishes it"
        )
    needs_file(vgg16, "training.vgg16")
    return weights, vgg16


def check_start_files(plan: Plan, enlarge: int, run: str) -> None:
    """Check each block of ``plan`` that starts from a file.

    Args:
        enlarge: how many times LR is enlarged before it enters the chain. Weights that were trained on another input
            can be trained on; where nothing is trained they would be wrong.
        run: name of the run, which an error names.

    Raises:
        UserError: a file cannot be read, has no such block, or one that is built otherwise.
    """
    for number in plan.numbers:
        phase, place = plan.phase(number), key("runs", run, "plan", number - 1, "start")
        for block, start in enumerate(plan.task(number, 0).starts, 1):
            if isinstance(start, int) or not is_file(start):
                continue
            name, chosen = split_file(start)
            try:
                known = about_file(Path(name), plan.blocks[block - 1].scale)
                metadata.check_fit(known, chosen or block, plan.blocks[block - 1], Path(name))
            except UserError as error:
                raise UserError(f"{place}: {error}") from None
            theirs = known.about.enlarge if block == (chosen or block) == known.first == 1 else None
            if theirs not in (None, enlarge):
                text = f"{name} takes {_taken(theirs)}, and the run gives it {_taken(enlarge)}"
                if not any(stage.iterations for stage in phase.stages):
                    raise UserError(f"{place}: {text}; without training, the input it was trained on is needed")
                _warn(f"{place}: {text}")


def about_file(file: Path, scale: int) -> metadata.Metadata:
    """The metadata of a file of weights; PyTorch is imported for those of others alone.

    Args:
        scale: which one to take where weights that others published are for several.

    Raises:
        UserError: it cannot be read, or is of no network that is known.
    """
    if metadata.is_ours(file):
        return metadata.read(file)
    from multiblock.model.published import about

    return about(file, scale)


def _taken(enlarge: int | None) -> str:
    return "LR as it is" if enlarge == 1 else f"LR enlarged x{enlarge}"


@cache
def _warn(text: str) -> None:
    log.warning("%s", text)  # once
