"""The page of a study under way, which is open in a browser while it trains.

Snakemake's own process writes it, from histories that trainings keep anyway: no training waits for it, and where
several are at work, one writes.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multiblock.errors import one_line
from multiblock.files import write_text
from multiblock.workflow.results import Results
from multiblock.workflow.store import WORKING, Store

if TYPE_CHECKING:
    from multiblock.report.phases import Key, TrainingFiles

_PAUSE, _SHARE = 5, 0.01
"""Seconds from one page to the next at least, and the most of the time of a CPU core that they may take."""

_WORTH_SECONDS = 120
"""What ends sooner has no page before its report: to load pandas, which curves need, takes about a second by itself."""


class Live:
    """Writes the page from time to time.

    Args:
        results: those of the study.
        store: where they are.
    """

    def __init__(self, results: Results, store: Store) -> None:
        self.file = store.results / f"{results.study.name}_live.html"
        self._results, self._store = results, store
        self._due = 0.0
        self._under_way, self._said = False, set[str]()

    def is_due(self) -> bool:
        """Whether it is time to write the page again."""
        return time.monotonic() >= self._due

    def renew(self, trainings: Mapping[str, Mapping[str, Any]], seconds_left: float) -> str:
        """Write the page, if the validation images were looked at by now; a line for a person, the first time.

        Args:
            trainings: what each training at work has reported, by its address.
            seconds_left: until all is done.
        """
        worth = seconds_left > _WORTH_SECONDS and any("psnr" in state for state in trainings.values())
        self._under_way |= worth
        return self._write("", trainings, renews=True) if self._under_way else ""

    def end(self, finished: bool) -> None:
        """Write the page for the last time, if there is one that says that all is under way.

        Args:
            finished: whether all that was asked for is made.
        """
        if self._under_way or (finished and self.file.exists()):
            self._under_way = False
            self._write("" if finished else "Nothing is at work now; the same command goes on.", {}, not finished)

    def _write(self, more: str, trainings: Mapping[str, Mapping[str, Any]], renews: bool) -> str:
        """Write it; a line for a person where it is, or why it is not, each once."""
        from multiblock.page.live import live_page  # what follows is timed without that

        begun = time.thread_time()
        try:
            text = live_page(**self._contents(more, trainings, renews))
        except (OSError, ValueError):  # a row is being written, or a phase has just been finished: the next time, then
            return ""
        finally:
            self._due = time.monotonic() + max(_PAUSE, (time.thread_time() - begun) / _SHARE)
        try:
            write_text(self.file, text)
            line = f"{self.file}  validation PSNR as it comes, in a browser"
        except OSError as error:
            line = f"warning: {one_line(error)}; that page is left out, and all else goes on"
        said, self._said = self._said, self._said | {line}
        return "" if line in said else line

    def _contents(self, more: str, trainings: Mapping[str, Mapping[str, Any]], renews: bool) -> dict[str, Any]:
        """What the page shows, see :func:`multiblock.page.live.live_page`."""
        from multiblock.report.curves import no_network

        study = self._results.study
        phases = {run: self._phases(run, trainings) for run in study.runs}
        made = [self._store.mark(one.address).exists() for one in self._results.all() if one.kind == "train"]
        pages = [f"{study.name}_report.html", *(f"{run}/report.html" for run in study.runs)]
        return {
            "study": study.name,
            "phases": {run: found for run, found in phases.items() if found},
            # PSNR of other images is another.
            "level": None if len(study.data) > 1 else no_network(of for run in phases.values() for of in run.values()),
            "sentence": f"{sum(made)} of {len(made)} phases are trained. {more}",
            "now": {key: words for run in study.runs for key, words in self._now(run, trainings).items()},
            "links": [] if renews else [page for page in pages if (self._store.results / page).exists()],
            "renews": _PAUSE if renews else 0,
        }

    def _phases(self, run: str, trainings: Mapping[str, Mapping[str, Any]]) -> "dict[Key, TrainingFiles]":
        """The files of the phases of a run that are trained, and of the one of each seed that is under way."""
        from multiblock.page.live import UnderWay
        from multiblock.report.phases import TrainingFiles

        found: dict[Key, TrainingFiles] = {}
        for seed, number in self._results.seeds_and_phases(run):
            address = self._results.train(run, seed, number).address
            folder, level = self._store.folder(address), trainings.get(address, {}).get("psnr_input")
            if self._store.mark(address).exists():
                found[seed, number] = TrainingFiles(history=folder / "history.csv", training=folder / "training.json")
            elif (folder / WORKING / "history.csv").exists() and (number == 1 or (seed, number - 1) in found):
                task = self._results.task(run, seed, number)
                found[seed, number] = UnderWay(history=folder / WORKING / "history.csv", task=task, level=level)
        return found

    def _now(self, run: str, trainings: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, int], str]:
        """How far a run is, by run and seed; nothing of a seed that was not begun."""
        found: dict[tuple[str, int], str] = {}
        for seed, number in self._results.seeds_and_phases(run):
            address = self._results.train(run, seed, number).address
            state = trainings.get(address, {})
            if self._store.mark(address).exists():
                found[run, seed] = f"phase {number}"
            elif state.get("done") is not None:
                found[run, seed] = f"phase {number}: {state['done']} of {state['of']} iterations"
            elif (step := self._store.step(address)) is not None:
                found[run, seed] = f"phase {number}: stopped at iteration {step}"
        return found
