"""The workflow without Snakemake and networks: what does not count is made, as files whose bytes are always new.

So a result that is made twice is never the same, as on a GPU.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from conftest import ROOT
from multiblock import config
from multiblock.files import Digests
from multiblock.model.metadata import digest_of_result
from multiblock.workflow.results import Result, Results
from multiblock.workflow.seen import outside
from multiblock.workflow.store import Store

TINY = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
DATA = {"name": "mine", "scale": 1, "train": {"hr": "a", "lr": "a"}, "validation": 1, "test": {"hr": "b", "lr": "b"}}


def stages(lr: float = 1e-3) -> list[dict[str, Any]]:
    return [{"iterations": 3, "batch": 2, "patch": 16, "lr": lr}]


def plan(*rates: float) -> dict[str, Any]:
    """A run of two blocks: block 1, block 2, then both, at these learning rates."""
    rates = (*rates, *[1e-3] * (3 - len(rates)))
    spans = (1, 2, "1-2")
    return {
        "chain": ["tiny", "tiny"],
        "plan": [{"span": s, "stages": stages(lr)} for s, lr in zip(spans, rates, strict=True)],
    }


def study_of(runs: dict[str, Any], **changes: Any) -> config.Study:
    return config.load({**TINY, "data": DATA, "runs": runs, "report": {}, **changes})


def results_of(study: config.Study, images: dict[str, str] | None = None) -> tuple[Store, Results]:
    """What a start finds; ``images`` gives digests of data sets in place of a look at them."""
    store = Store(Path(study.results))
    known = {f"images {name}": (images or {}).get(name, "images") for name in study.data}
    remembered = Digests(store.root / "digests.json", digest_of_result)
    return store, Results(study, outside(study, store, remembered, known if images is not None else {}))


def to_do(store: Store, results: Results, say: Any = print) -> list[Result]:
    """What Snakemake would run: what does not count, and what reads that."""
    verdicts, found = store.settle(results.all(), say), {}
    for result in results.all():
        if not verdicts[result.address].made or any(read.of.address in found for read in result.reads.values()):
            found[result.address] = result
    return list(found.values())


def counted(results: Iterable[Result]) -> dict[str, int]:
    """How often each rule runs."""
    return dict(Counter(result.rule for result in results))


class Work:
    """The workflow in the folder where we are."""

    def __init__(self) -> None:
        self.count = 0
        self.said: list[str] = []

    def look(self, study: config.Study, **images: str) -> tuple[Store, Results]:
        return results_of(study, images)

    def todo(self, study: config.Study, **images: str) -> list[str]:
        """The jobs, by rule and by what they are of."""
        self.said = []
        return [f"{result.rule} {result.of}".strip() for result in to_do(*self.look(study, **images), self.said.append)]

    def __call__(self, study: config.Study, upto: int = 99, **images: str) -> set[str]:
        """Make what does not count, or so many results of it; the phases that were trained."""
        self.said, trained = [], set()
        store, results = self.look(study, **images)
        jobs = to_do(store, results, self.said.append)
        store.show(results.shown(), study.runs)
        for result in jobs[:upto]:
            self.make(store, result)
            if result.kind == "train":
                trained.add(f"{result.of.run} {result.of.phase}")
        return trained

    def make(self, store: Store, result: Result) -> None:
        store.unmake(result.address)
        for name in result.makes:
            self.count += 1
            place = store.folder(result.address) / name
            file = place if "." in name else place / "test.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(self.count))
        store.note(result, {})
        store.show_result(result.address)


def contents(folder: str = "results") -> dict[str, str]:
    """What a reader finds under each path of a results folder, without the store and without following it."""
    found = {}
    for above, _, names in os.walk(folder, followlinks=True):
        if Path(above).relative_to(folder).parts[:1] != ("store",):
            found |= {os.path.relpath(f"{above}/{name}", folder): Path(above, name).read_text() for name in names}
    return found
