"""The plan of spans: which phase trains which blocks, and everything that follows from it.

Pure: nothing here touches a file, an image or a network. A *phase* trains the contiguous *span* of blocks
``first..last`` of a chain. What the blocks before the span make of the data is the *cached set* LR_{first-1};
LR_0 is the input itself.

Blocks and phases count from 1. The scheme is that of the multiblock study (phases 1-1 to 4).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from multiblock.errors import UserError

RANDOM = "random"
"""Stands for no file, where a part of a block could start from published weights."""

INPUT = 0
"""The "phase" that made LR_0."""

EQUAL = 0.01
"""Share by which the compute of runs may differ that are called equal."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of a chain: a network's name (or ``FILE.py``) and the options it is built with."""

    network: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> int:
        """How many times the block enlarges its input; 1 keeps the size."""
        return int(self.options.get("scale", 1))

    @property
    def files(self) -> tuple[str, ...]:
        """The files of published weights that parts of the block start from: options called ``..._weights``."""
        return tuple(value for name, value in self.options.items() if name.endswith("_weights") and value != RANDOM)


def clamps(clamp: str, blocks: int) -> list[bool]:
    """Whether each of so many blocks is cut to [0, 1]: ``all``, the ``last`` or ``none``."""
    return [clamp == "all"] * (blocks - 1) + [clamp != "none"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of a phase with one optimiser, learning rate, loss and clamp setting.

    ``patch`` is the side of the input patch in pixels. ``clamp`` says which blocks of the span end in a cut to [0, 1],
    the N_k+ of the study (N_k without): ``all``, the ``last`` or ``none``. ``loss`` gives each term its weight;
    ``vgg16`` is the file of the network that perceptual terms look through; ``intermediate`` gives the loss of each
    block's output before the last a weight (none: of the last block's alone). ``schedule`` changes the learning rate
    (none: constant), which rises over the first ``warmup`` iterations; ``parts`` gives parts of the blocks a learning
    rate of their own or freezes them. Gradients with a norm above ``clip`` are scaled down to it; ``ema`` is the decay
    of the average of the weights that is validated and kept (none: they are themselves). ``recompute`` says what the
    backward pass computes again to save memory: ``blocks``, or nothing; the weights are the same. ``accumulate`` is the
    number of parts in which a batch is computed, one after another, or ``auto``.
    """

    iterations: int
    optimiser: str
    lr: float
    batch: int
    patch: int
    loss: dict[str, float]
    clamp: str
    options: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    augment: str = "all"
    vgg16: str | None = None
    ema: float | None = None
    warmup: int = 0
    clip: float | None = None
    intermediate: list[float] = field(default_factory=list)
    recompute: str | None = field(default=None, compare=False)
    accumulate: int | str = 1

    @property
    def counts(self) -> dict[str, Any]:
        """All that decides what comes out, in plain values."""
        left_out = {"recompute", *(["accumulate"] if self.accumulate == 1 else [])}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def clamps(self, blocks: int) -> list[bool]:
        """Whether each of the blocks of a span, of which there are so many, is N_k+."""
        return clamps(self.clamp, blocks)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase: the span ``first..last``, how blocks that were never trained start, and the stages.

    ``gpus`` share the rows of each batch, which changes what is computed by no more than rounding.
    """

    first: int
    last: int
    start: str
    stages: tuple[Stage, ...]
    gpus: int = 1

    @property
    def span(self) -> range:
        """The numbers of the blocks that this phase trains."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that the weights of one phase depend on, apart from the files it reads.

    ``blocks`` are all blocks that are trained by the end of the phase, and ``starts`` what each of them starts from:
    the phase that trained it last, or a way to start. Blocks ``first`` to ``last`` are trained.
    """

    seed: int
    phase: int
    first: int
    last: int
    blocks: tuple[Block, ...]
    starts: tuple[int | str, ...]
    stages: tuple[Stage, ...]

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Task":
        """The task that ``dataclasses.asdict`` made ``plain`` of."""
        blocks = tuple(Block(**block) for block in plain["blocks"])
        stages = tuple(Stage(**stage) for stage in plain["stages"])
        return cls(**{**plain, "blocks": blocks, "stages": stages})

    @property
    def counts(self) -> dict[str, Any]:
        """All that decides what comes out, in plain values."""
        return {**asdict(self), "stages": [stage.counts for stage in self.stages]}

    @property
    def iterations(self) -> int:
        """Iterations of all stages together."""
        return sum(stage.iterations for stage in self.stages)

    @property
    def files(self) -> tuple[str, ...]:
        """The files of weights from elsewhere that training reads, in a fixed order."""
        fresh = [block for block, start in zip(self.blocks, self.starts, strict=True) if isinstance(start, str)]
        found = [split_file(start)[0] for start in self.starts if isinstance(start, str) and is_file(start)]
        found += [file for block in fresh for file in block.files]
        found += [stage.vgg16 for stage in self.stages if stage.vgg16]
        return tuple(dict.fromkeys(found))

    def place(self, iteration: int) -> tuple[int, int]:
        """Where iteration ``iteration``, counted from 0, is: index of its stage, and its number within the stage."""
        for index, stage in enumerate(self.stages):
            if iteration < stage.iterations:
                return index, iteration
            iteration -= stage.iterations
        raise IndexError(iteration)

    def pixels(self, begin: int, end: int) -> int:
        """Batch x output pixels, summed over the iterations ``begin`` to ``end - 1``, counted from 0."""
        enlarge, total, first = self.blocks[self.first - 1].scale, 0, 0
        for stage in self.stages:
            inside = max(0, min(end, first + stage.iterations) - max(begin, first))
            total += inside * stage.batch * (stage.patch * enlarge) ** 2
            first += stage.iterations
        return total

    @property
    def block_pixels(self) -> int:
        """Training compute: iterations x batch x output pixels, summed over the blocks trained."""
        return self.pixels(0, self.iterations) * (self.last - self.first + 1)


@dataclass(frozen=True, kw_only=True, order=True)
class CachedSet:
    """The cached set LR_``block`` made after phase ``phase``; phase 0, block 0 is the input LR_0."""

    phase: int
    block: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A chain of blocks and the phases that train it.

    ``files`` are the files of weights that blocks start from whatever their phase says, by the number of the block.

    Raises:
        UserError: a phase trains a block that is not there or whose predecessor is untrained, a block is never
            trained, an enlarging block is not the first, or a block inherits from a different network.
    """

    blocks: tuple[Block, ...]
    phases: tuple[Phase, ...]
    files: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise UserError(*problems)

    def _problems(self) -> Iterator[str]:
        if not self.blocks:
            yield "chain: found no block; at least one is needed"
        elif not self.phases:
            yield "plan: found no phase; at least one is needed"
        for number, block in enumerate(self.blocks[1:], 2):
            if block.scale != 1:
                yield (
                    f"chain: block {number} ({block.network}) enlarges x{block.scale}; "
                    "only the first block of a chain may enlarge"
                )
        trained: set[int] = set()
        for number, phase in enumerate(self.phases, 1):
            key, span = f"plan, phase {number}", f"span {format_span(phase.first, phase.last)}"
            if phase.last > len(self.blocks):
                yield f"{key}: {span} goes past the chain's last block; allowed are 1 to {len(self.blocks)}"
                return  # what follows would be about blocks that are not there
            gap = [block for block in range(1, phase.first) if block not in trained]
            if gap:
                as_it_is = f"; `span: {gap[0]}, stages: [{{iterations: 0}}]` before it takes it as its file has it"
                yield (
                    f"{key}: {span} leaves a gap: block {gap[0]} before it has not been trained by any earlier phase"
                    f"{as_it_is if gap[0] in self.files else ''}"
                )
            never_trained = sorted(set(phase.span) - trained - set(self.files))
            if is_file(phase.start) and not never_trained:
                yield (
                    f"{key}: start {phase.start} would start nothing: {span} goes on from earlier phases; "
                    "allowed is a file where a block that has none is trained for the first time"
                )
            for new in never_trained if inherits(phase.start) else ():
                if new == 1:
                    yield (
                        f"{key}: start {phase.start} has nothing to inherit from: block 1 is the first; "
                        "allowed are the ways to start that do not inherit"
                    )
                elif self.blocks[new - 1] != self.blocks[new - 2]:
                    yield f"{key}: start {phase.start} needs block {new} to be built like block {new - 1}"
            trained.update(phase.span, gap)  # a gap is named once
        untrained = sorted(set(range(1, len(self.blocks) + 1)) - trained)
        if untrained and self.phases:
            yield f"plan: no phase trains block {untrained[0]} of the chain; every block has to be trained"

    @property
    def scale(self) -> int:
        """How many times the whole chain enlarges."""
        return self.blocks[0].scale

    def block_pixels_of(self, phase: Phase, stage: Stage) -> int:
        """Training compute of one iteration: batch x output pixels x blocks trained."""
        return stage.batch * (stage.patch * self.blocks[phase.first - 1].scale) ** 2 * len(phase.span)

    @property
    def block_pixels(self) -> int:
        """Training compute of all phases, for one seed."""
        return sum(self.task(number, 0).block_pixels for number in self.numbers)

    def phase(self, number: int) -> Phase:
        """Phase ``number``, counted from 1."""
        return self.phases[number - 1]

    @property
    def numbers(self) -> range:
        """The numbers of all phases."""
        return range(1, len(self.phases) + 1)

    def owner(self, block: int, after: int) -> int:
        """The phase whose weights ``block`` has once phase ``after`` is done, or 0 if it is untrained then."""
        return self._trained[after].get(block, 0)

    @cached_property
    def _trained(self) -> list[dict[int, int]]:
        """For each number of phases that are done the blocks that are trained by then, each with its phase."""
        found: list[dict[int, int]] = [{}]
        for number, phase in enumerate(self.phases, 1):
            found.append(found[-1] | dict.fromkeys(phase.span, number))
        return found

    def reach(self, number: int) -> int:
        """The last block that is trained once phase ``number`` is done: the network after it has blocks 1 to there."""
        return max(phase.last for phase in self.phases[:number])

    def owners(self, number: int) -> dict[int, int]:
        """The network as it is after phase ``number``: its blocks, each with the phase it comes from."""
        return {block: self.owner(block, number) for block in range(1, self.reach(number) + 1)}

    def reads_weights(self, number: int) -> tuple[int, ...]:
        """The phases whose weight files phase ``number`` needs: those of all blocks that are trained already."""
        needed = {self.owner(block, number - 1) for block in range(1, self.reach(number) + 1)}
        return tuple(sorted(needed - {0}))

    def reads_set(self, number: int) -> CachedSet:
        """The cached set that phase ``number`` trains on: LR_{first-1}, made by the last phase to change it."""
        block = self.phase(number).first - 1
        if block == 0:
            return CachedSet(phase=INPUT, block=0)
        made_by = max(p for p in range(1, number) if self.phase(p).first <= block)
        return CachedSet(phase=made_by, block=block)

    def makes_sets(self, number: int) -> tuple[int, ...]:
        """The k of every LR_k that is made after phase ``number`` because a later phase reads it."""
        read = (self.reads_set(later) for later in range(number + 1, len(self.phases) + 1))
        return tuple(sorted({made.block for made in read if made.phase == number}))

    def set_weights(self, made: CachedSet) -> dict[int, int]:
        """The blocks that make the set ``made`` from the set its phase read, each with the phase it comes from."""
        first = self.phase(made.phase).first
        return {block: self.owner(block, made.phase) for block in range(first, made.block + 1)}

    def clamped(self, block: int, after: int) -> bool:
        """Whether ``block`` is N_k+ once phase ``after`` is done: as in the last stage that trained it."""
        phase = self.phase(self.owner(block, after))
        return phase.stages[-1].clamps(len(phase.span))[block - phase.first]

    def needs(self, number: int) -> frozenset[int]:
        """The phases whose results phase ``number`` reads directly, as weights or as cached set."""
        read = self.reads_set(number)
        made = set(self.set_weights(read).values()) | {read.phase} if read.phase else set()
        return frozenset(self.reads_weights(number)) | made

    def reruns(self, number: int) -> tuple[int, ...]:
        """The phases that must run again when the settings of phase ``number`` change, itself included."""
        changed = {number}
        for later in range(number + 1, len(self.phases) + 1):
            if self.needs(later) & changed:
                changed.add(later)
        return tuple(sorted(changed))

    def title(self, number: int) -> str:
        """What phase ``number`` made, as the study writes it: ``N_2(N_1)``, or ``N`` for the whole chain at once.

        It is the network as it is then, all blocks trained so far. Where the span is not simply its last block or
        all of it, the name says which blocks were trained: ``N (N_2 anew)``.
        """
        phase, reach = self.phase(number), self.reach(number)
        whole = "N" if reach == len(self.blocks) else f"N_1..{reach}"
        if reach > phase.last or 1 < phase.first < phase.last:
            return f"{whole} (N_{format_span(phase.first, phase.last).replace('-', '..')} anew)"
        return through(phase.last) if phase.last == phase.first else whole

    def described(self) -> dict[str, Any]:
        """The plan in plain values, as far as its picture shows it: what the picture depends on."""
        phases = []
        for number in self.numbers:
            task, phase, read = self.task(number, 0), self.phase(number), self.reads_set(number)
            phases.append(
                {
                    "title": self.title(number),
                    "first": phase.first,
                    "last": phase.last,
                    "reads": [read.phase, read.block],
                    "starts": list(task.starts),
                    "stages": [stage.counts for stage in phase.stages],
                }
            )
        return {"blocks": [block.network for block in self.blocks], "phases": phases}

    def task(self, number: int, seed: int) -> "Task":
        """What phase ``number`` has to do for ``seed``."""
        phase, blocks = self.phase(number), range(1, self.reach(number) + 1)
        return Task(
            seed=seed,
            phase=number,
            first=phase.first,
            last=phase.last,
            blocks=self.blocks[: len(blocks)],
            starts=tuple(self.owner(one, number - 1) or self.files.get(one, phase.start) for one in blocks),
            stages=phase.stages,
        )


def through(block: int) -> str:
    """The blocks 1 to ``block``, one after another, as the study writes it: ``N_3(N_2(N_1))``."""
    if block > 3:
        return f"N_{block}(N_1..{block - 1})"
    return "(".join(f"N_{number}" for number in range(block, 0, -1)) + ")" * (block - 1)


_FILE = re.compile(r"(.+\.(?:safetensors|pth|pt))(?:#([1-9]\d{0,5}))?", re.DOTALL)


def is_file(start: str) -> bool:
    """Whether a way to start is a file of weights, ``w.safetensors``, or one block of it, ``w.safetensors#2``.

    Files of others end in ``.pth`` and ``.pt`` too.
    """
    return bool(_FILE.fullmatch(start))


def split_file(start: str) -> tuple[str, int | None]:
    """The file of such a start, and the number of the block that it names; None for the block of the same number."""
    match = _FILE.fullmatch(start)
    if not match:
        raise ValueError(f"{start!r} names no file of weights")
    return match[1], int(match[2]) if match[2] else None


def inherits(start: str) -> bool:
    """Whether a way to start takes the weights of the block before, which must be there and be built alike."""
    return start.startswith("inherit") and not is_file(start)


def parse_span(text: int | str, key: str) -> tuple[int, int]:
    """Read a span: ``2`` or ``"1-3"``.

    Raises:
        UserError: not of that form, counted from 0, or backwards; the message starts with ``key``.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", str(text))
    if match:
        first, last = int(match[1]), int(match[2] or match[1])
        if 1 <= first <= last:
            return first, last
    raise UserError(f"{key}: found {text!r}; a span is one block (2) or a run of blocks (1-3), counted from 1")


def format_span(first: int, last: int) -> str:
    """The span as a person writes it: ``2`` or ``1-3``."""
    return str(first) if first == last else f"{first}-{last}"
