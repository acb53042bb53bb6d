"""What a run of the workflow is going to do, and what came out, as a person reads it."""

import csv
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiblock.config import Run, Study
from multiblock.errors import aligned
from multiblock.files import read_json
from multiblock.pace import duration
from multiblock.plan import format_span
from multiblock.workflow import why
from multiblock.workflow.results import ARRAYS, Of, Read, Result, Results
from multiblock.workflow.running import Outlook
from multiblock.workflow.store import Store, Verdict

NOTES = "<!-- notes -->"
"""What separates the tables of a comparison from its sentences, as reports write it (with pandas, which is slow)."""

BELOW = "BELOW NO NETWORK"

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}
_INPUT = "input"

_MOST_ROWS, _MOST_RUNS = 30, 30
"""Phases of all runs together that get a line each (where there are more, a run gets one), and runs that get a line."""

_ASKING = re.compile(r"all|upscale|phase\d+")


# What is asked for, and what Snakemake will run for it


def makes_nothing(rule: str) -> bool:
    """Whether a rule only asks for what others make."""
    return bool(_ASKING.fullmatch(rule))


def upto(results: Results, phase: int) -> list[Result]:
    """The trainings and measurements of every run up to a phase."""
    runs, seeds = results.study.runs.values(), results.study.seeds
    keys = [(run.name, seed, n) for n in range(1, phase + 1) for run in runs if n in run.plan.numbers for seed in seeds]
    return [made for key in keys for made in (results.train(*key), results.evaluate(*key))]


def asked_for(results: Results, target: str) -> list[Result]:
    """What a target of Snakemake's command line asks for: a rule, or the mark of a result in the store."""
    if target == "all":
        return results.all()
    if target == "upscale":
        return [results.upscale(run) for run in results.study.runs]
    if phase := re.fullmatch(r"phase(\d+)", target):
        return upto(results, int(phase[1]))
    return [made for made in results.all() if made.address == Path(target).parent.name]


def planned(
    results: Results, asked: Sequence[Result], verdicts: Mapping[str, Verdict], forced: Sequence[str]
) -> list[Result]:
    """What Snakemake will run, in the order in which results are made.

    That is what is asked for and is not up to date, or is forced; what that reads and is not up to date; and what reads
    any of it, even if only its mark becomes newer.

    Args:
        asked: the results that are asked for.
        forced: names of rules that run in any case; ``*`` for all.
    """
    order, needed = results.all(), {made.address for made in asked}
    for made in reversed(order):
        if made.address in needed:
            needed |= {read.of.address for read in made.reads.values()}
    order = [made for made in order if made.address in needed]
    first = {made.address for made in asked if not verdicts[made.address].made}
    first |= {made.address for made in order if {"*", made.rule} & set(forced)}
    run, before = first, set[str]()
    while run != before:
        before = set(run)
        for made in order:
            run |= {made.address for read in made.reads.values() if read.of.address in run}
        for made in reversed(order):
            if made.address in run:
                run |= {read.of.address for read in made.reads.values() if not verdicts[read.of.address].made}
    return [made for made in order if made.address in run]


# Before anything runs


@dataclass(kw_only=True)
class Overview:
    """What is to be done: data sets, runs with their phases, and what it will take.

    Args:
        images: how many images each data set has, by split; only those that could be looked at.
        verdicts: on each address.
        before: the mark of what each path showed before this start.
        asked: the results that are asked for.
        forced: names of rules that run in any case; ``*`` for all.
    """

    study: Study
    results: Results
    store: Store
    images: Mapping[str, Mapping[str, int]]
    verdicts: Mapping[str, Verdict]
    before: Mapping[str, Mapping[str, Any]]
    asked: Sequence[Result]
    forced: Sequence[str]

    def plan(self, counts: Mapping[str, int]) -> None:
        """Find out which results will be made.

        Args:
            counts: how many jobs of each rule Snakemake will run, as it reports itself.
        """
        found = planned(self.results, self.asked, self.verdicts, self.forced)
        self.counts = dict(counts)
        self.planned = [made for made in found if counts.get(made.rule)]  # options as --until leave some of them out
        self._forced = {made.address for made in self.planned if {"*", made.rule} & set(self.forced)}
        self._waits: dict[str, bool] = {}
        self.trained = {made.address for made in self.planned if made.kind == "train" and self._wait_for(made)}
        self.outlook = Outlook(self.results, self.store, self.planned, self.trained)

    def _wait_for(self, made: Result) -> bool:
        """Whether a result, or something that it reads, will change; arrays alone come out as they were.

        Snakemake may plan a training that does not change: its job finds that there is nothing to do.
        """
        if made.address not in self._waits:
            changes = not self.verdicts[made.address].made or made.address in self._forced
            changes &= made.kind not in ARRAYS
            self._waits[made.address] = changes or any(self._wait_for(read.of) for read in made.reads.values())
        return self._waits[made.address]

    def lines(self, dry: bool) -> Iterator[str]:
        """The plan in words."""
        study, seeds = self.study, self.study.seeds
        for name, data in study.data.items():
            counts = self.images.get(name, {})
            images = ", ".join(f"{counts[split]} {what}" for split, what in _SPLITS.items() if split in counts)
            folds = f", tested in {data.folds} folds" if data.folds else ""
            yield f"data {name}, x{data.scale}{f': {images} images' if images else ''}{folds}"
        runs = [run for run in study.runs.values() if self._is_of(run)] or list(study.runs.values())
        short = sum(len(run.plan.phases) for run in runs) > _MOST_ROWS
        for run in runs[:_MOST_RUNS]:
            on = f" on {run.data.name}" if len(study.data) > 1 else ""
            title = f"run {run.name}{on}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
            if short:
                spans = ", ".join(format_span(phase.first, phase.last) for phase in run.plan.phases)
                states = Counter(self._state(run.name, seed, n) for n in run.plan.numbers for seed in seeds)
                yield f"{title}: phases {spans}; " + ", ".join(f"{count} {state}" for state, count in states.items())
                continue
            yield title
            rows = [self._row(run, number) for number in run.plan.numbers]
            yield from aligned([("phase", "trains", "iterations", "now"), *rows], indent="  ")
        if rest := {run.name for run in runs[_MOST_RUNS:]}:
            to_train = sum(made.of.run in rest for made in self.planned if made.address in self.trained)
            yield f"and {len(rest)} more run{'s' if len(rest) > 1 else ''}, with {to_train} phases to train"
        yield self._amount()
        if dry:
            listed = sorted((rule, count) for rule, count in self.counts.items() if rule not in ("all", "total"))
            # As Snakemake's own table has it, which people and their scripts know.
            rows = [(rule, str(count)) for rule, count in sorted(listed, key=lambda row: _place(row[0]))]
            yield from aligned([("job", "count"), *rows])
            yield "nothing was done (dry run); --verbose lists each job, and why it runs"

    def _is_of(self, run: Run) -> bool:
        """Whether a job makes something of a run, or of a phase that it shares."""
        phases = [self.results.train(run.name, *key) for key in self.results.seeds_and_phases(run.name)]
        makers = {made.of.run for made in phases} | {run.name}
        return any(made.of.run in makers for made in self.planned)

    def _row(self, run: Run, number: int) -> tuple[str, ...]:
        phase = run.plan.phase(number)
        seeds: dict[str, list[int]] = {}
        for seed in self.study.seeds:
            seeds.setdefault(self._state(run.name, seed, number), []).append(seed)
        states = [
            f"{state} (seed{'s' if len(of) > 1 else ''} {', '.join(map(str, of))})" if len(seeds) > 1 else state
            for state, of in seeds.items()
        ]
        iterations = " + ".join(str(stage.iterations) for stage in phase.stages)
        return str(number), format_span(phase.first, phase.last), iterations, "; ".join(states)

    def _state(self, run: str, seed: int, number: int) -> str:
        """What becomes of a phase."""
        made = self.results.train(run, seed, number)
        verdict = self.verdicts[made.address]
        if made.of.run != run:
            return f"as in run {made.of.run}"
        if made.address not in self.trained:
            measured = self.verdicts[self.results.evaluate(run, seed, number).address].made
            found = psnr(self.results, self.store, run, seed, number) if measured else {}
            return (
                "not asked for" if not verdict.made else "up to date" + (f", {found[number]:.3f} dB" if found else "")
            )
        if at := self.store.step(made.address):
            return f"goes on from iteration {at}"
        before = self.before.get(f"{run}/seed{seed}/phase{number}/{made.makes[0]}")
        reasons = why.reasons(before, made) if before else []
        reasons += [verdict.why] if verdict.why else []
        reasons += ["asked for"] if made.address in self._forced else []
        if verdict.made:
            waits = [read.of for read in made.reads.values() if self._wait_for(read.of)]
            reasons += [f"it depends on {why.called(one.of)}" for one in waits]
        again = "to train again" if before or reasons else "to train"
        return f"{again}: {why.in_words(reasons)}" if reasons else again

    def _amount(self) -> str:
        if not self.trained:
            others = sum(n for rule, n in self.counts.items() if rule != "total" and not makes_nothing(rule))
            return f"no phase to train, {others} other job{'' if others == 1 else 's'} to do"
        phases, seconds = len(self.trained), self.outlook.seconds_left()
        what = f"{phases} phase{'s' if phases > 1 else ''} to train, {self.outlook.iterations:,} iterations"
        if seconds is None:
            return f"{what}; how long it takes is known after the first seconds"
        return f"{what}, about {duration(seconds)} at the speed measured before"


def _place(rule: str) -> tuple[int, int, str]:
    """Where a rule is named: images, phases, then what is written of them."""
    phase = re.fullmatch(r"phase(\d+)_\d", rule)
    order = {"convert": 0, "enlarge": 1, "folds": 1, "evaluate": 3}
    return order.get(rule, 2 if phase else 4), int(phase[1]) if phase else 0, rule


# What came out


def psnr(results: Results, store: Store, run: str, seed: int, number: int) -> dict[int | str, float]:
    """PSNR RGB in dB of the test images, composed: after a phase, of the input, and after the phase before it.

    They are means over the images that are finite in all of them, as in the tables. Nothing where it was not measured.
    """
    columns: dict[int | str, dict[str, float]] = {}
    for phase in range(max(number - 1, 1), number + 1):
        for row in _rows(store.path(Read(results.evaluate(run, seed, phase), "psnr.csv"))):
            key = phase if row["phase"] != _INPUT else _INPUT
            if key != _INPUT or phase == number:
                columns.setdefault(key, {})[row["image"]] = row["psnr_rgb_composed"]
    if number not in columns or _INPUT not in columns:
        return {}
    images = [
        image for image in columns[number] if all(math.isfinite(one.get(image, math.nan)) for one in columns.values())
    ]
    # To four digits, as in the tables, which are shown with three.
    return {key: round(sum(one[i] for i in images) / len(images), 4) for key, one in columns.items() if images}


def _rows(table: Path) -> list[dict[str, Any]]:
    """The rows of a table of measurements, with PSNR as numbers; none where it cannot be read."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
        return [{**row, "psnr_rgb_composed": float(row["psnr_rgb_composed"])} for row in rows if row["phase"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def of_phase(results: Results, store: Store, of: Of) -> str:
    """What a phase brought: ``phase 2: 32.559 dB, +0.179 over phase 1, 9 s``."""
    run, seed, number = of.run, of.seed, of.phase
    assert run is not None and seed is not None and number is not None
    found = psnr(results, store, run, seed, number)
    if not found:
        return f"phase {number}: measured, see {store.results}/{run}/seed{seed}/phase{number}/psnr.csv"
    line = f"phase {number}: {found[number]:.3f} dB"
    if found[number] < found[_INPUT]:
        line += f", {BELOW} ({found[_INPUT]:.3f} dB)"
    if number - 1 in found:
        line += f", {found[number] - found[number - 1]:+.3f} over phase {number - 1}"
    elif found[number] >= found[_INPUT]:
        line += f", {found[number] - found[_INPUT]:+.3f} over no network"
    seconds = read_json(store.path(Read(results.train(run, seed, number), "training.json"))).get("seconds")
    return line + (f", {duration(seconds)}" if isinstance(seconds, int | float) else "")


def outcome(study: Study) -> Iterator[str]:
    """The table of a run, or of the runs of a study, and what a comparison says of the runs.

    The table has PSNR RGB in dB, means over images and seeds.
    """
    several, head, worse = len(study.runs) > 1, ("PSNR RGB", "over the input"), ""
    rows = [("run", "phases", *head) if several else ("phase", "trains", *head, "over the phase before")]
    for run in study.runs:
        table = _rows(Path(study.results, run, "psnr_by_phase.csv"))
        values: dict[str, list[float]] = {}
        for row in table:  # with folds, as often as the fold has images
            values.setdefault(row["phase"], []).extend([row["psnr_rgb_composed"]] * int(row.get("images") or 1))
        means = {phase: sum(found) / len(found) for phase, found in values.items()}
        spans = {row["phase"]: str(row.get("span")) for row in table}
        if len(means) < 2:
            continue
        plain, *trained = means.items()
        gains = {phase: f"{mean - plain[1]:+.3f}" + (f" {BELOW}" if mean < plain[1] else "") for phase, mean in trained}
        if several:
            phase, mean = trained[-1]
            rows.append((run, str(len(trained)), f"{mean:.3f}", gains[phase]))
            continue
        rows.append(("no network", "", f"{plain[1]:.3f}", "", ""))
        for (_, before), (phase, mean) in zip([plain, *trained], trained, strict=False):
            rows.append((phase, spans[phase], f"{mean:.3f}", gains[phase], f"{mean - before:+.3f}"))
        best, last = max(trained, key=lambda one: one[1]), trained[-1]
        if best[1] > last[1]:
            worse = f"phase {last[0]} ends {best[1] - last[1]:.3f} dB below phase {best[0]}, whose weights are kept too"
    yield from aligned(rows)
    if worse:
        yield worse
    yield from sentences(study)


def sentences(study: Study) -> list[str]:
    """What the comparison of a study says of its runs on the test images; nothing where there is none."""
    try:
        lines = Path(study.results, f"{study.name}_comparison.md").read_text(encoding="utf-8")
    except OSError:
        return []
    found = [line.removeprefix("- ") for line in lines.partition(NOTES)[2].splitlines() if line.startswith("- ")]
    return found[: len(study.pairs)]


def where(study: Study) -> Iterator[str]:
    """Where to look: files that are there, and what each is; last the command that uses the network."""
    results = Path(study.results)
    run = next(iter(study.runs)) if len(study.runs) == 1 else study.baseline
    of_study = [
        (results / f"{study.name}_report.html", "the runs side by side, in a browser"),
        (results / f"{study.name}_comparison.md", "how sure each difference is"),
    ]
    of_run = [
        (results / run / "report.html", "what each phase brought, in a browser: pictures, curves, tables"),
        (results / run / "psnr_by_phase.md", "the same as a table, and what it took"),
        (results / run / "strips", "test images after each phase"),
        (results / run / "upscaled", "your own pictures, as the network makes them"),
    ]
    found = of_study * (len(study.runs) > 1) + of_run
    yield from aligned([(f"{path}/" if path.is_dir() else f"{path}", what) for path, what in found if path.exists()])
    plan = study.runs[run].plan
    if (results / run / f"seed{study.seeds[0]}" / f"phase{plan.numbers[-1]}" / "weights.safetensors").exists():
        own = dict.fromkeys(block.network for block in plan.blocks if block.network.endswith(".py"))
        trust = "".join(f" --trust-code {shlex.quote(file)}" for file in own)
        yield f"multiblock upscale {shlex.quote(str(results / run))} photo.jpg -o out{trust}"
