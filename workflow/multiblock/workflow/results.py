"""The results of a study, in the order in which they are made: for each its record, what its job reads and leaves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from multiblock.config import Study
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import TRAINED, Layout, image_set


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one job makes.

    Args:
        title: what it is, for a sentence.
        folder, record: where its record lies, and its name.
        on: gives what it depends on beside the files.
        inputs, outputs: the files that the job reads and makes.
    """

    title: str
    folder: Path
    record: str
    on: Callable[[], Mapping[str, Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def is_array(self) -> bool:
        """Whether it is image sets, which come out the same whenever they are made of the same."""
        return any(file.endswith(".npy") for file in self.outputs)

    @property
    def missing(self) -> list[str]:
        """The files that are not there."""
        return [file for file in self.outputs if not Path(file).exists()]


class Results:
    """The results of a study; the rules of the workflow make these."""

    def __init__(self, study: Study, layout: Layout, on: Dependencies) -> None:
        self._study, self._layout, self._on = study, layout, on

    def of_data(self, data: str) -> list[Result]:
        """The arrays of a data set: HR and LR, and LR enlarged where a run reads it."""
        folder, wildcards = self._layout.data.format(data=data), SimpleNamespace(data=data)
        lr, both = image_set(f"{folder}/LR"), [*image_set(f"{folder}/HR"), *image_set(f"{folder}/LR")]
        enlarged = any(run.data.name == data and run.input == "LR_enlarged" for run in self._study.runs.values())
        rows: list[tuple[str, Any, list[str], list[str]]] = [("convert", self._on.conversion, [], both)]
        if enlarged:
            rows += [("enlarge", self._on.enlargement, lr, image_set(f"{folder}/LR_enlarged"))]
        return [_result(f"arrays of {data}", folder, record, on, wildcards, *files) for record, on, *files in rows]

    def of_phase(self, run: str, seed: int, phase: int) -> list[Result]:
        """What a phase leaves: its training, the sets LR_k that later phases read, its measurements."""
        layout = self._layout
        of = SimpleNamespace(run=run, seed=seed, phase=phase)
        folder = layout.phase_folder(of, phase)
        read, hr, lr = layout.cached(of), layout.hr(of), layout.input(of)
        watched = [*image_set(hr, ["train", "validation"]), *image_set(lr, ["validation"])]
        train = [*image_set(read, ["train", "validation"]), *watched, *layout.weights_read(of)]
        trained = [f"{folder}/{name}" for name in TRAINED]
        found = [_result("training", folder, "train", self._on.training, of, train, trained)]
        for block in layout.makes_sets(of):
            made = SimpleNamespace(**vars(of), block=block)
            inputs = [*image_set(read), *layout.weights(made, layout.set_blocks(made).values())]
            outputs, record = image_set(f"{folder}/LR_{block}"), f"LR_{block}"
            found.append(_result(record, folder, record, self._on.generation, made, inputs, outputs))
        inputs = [
            f"{folder}/weights.safetensors",
            *(file for name in (lr, read, hr) for file in image_set(name, ["test"])),
        ]
        measured = [f"{folder}/psnr.csv", f"{folder}/images"]
        return [*found, _result("measurements", folder, "evaluate", self._on.evaluation, of, inputs, measured)]


def _result(
    title: str,
    folder: str,
    record: str,
    on: Callable[[Any], Any],
    wildcards: Any,
    inputs: list[str],
    outputs: list[str],
) -> Result:
    return Result(
        title=title,
        folder=Path(folder),
        record=record,
        on=lambda: on(wildcards),
        inputs=tuple(dict.fromkeys(inputs)),
        outputs=tuple(outputs),
    )
