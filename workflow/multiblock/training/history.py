"""The training history: one CSV row every few iterations, written as training goes."""

import csv
from pathlib import Path

COLUMNS = ("iteration", "stage", "lr", "loss", "psnr_rgb_validation")


class History:
    """Append rows to ``file``.

    Args:
        size: length in bytes that the file had at the checkpoint to go on from; what was written after it is cut
            off and will be written again. 0 begins anew.
    """

    def __init__(self, file: Path, size: int = 0) -> None:
        self._file = file
        if size:
            with file.open("r+b") as opened:
                opened.truncate(size)
        else:
            self._append(COLUMNS, "w")

    def _append(self, row: tuple[object, ...], mode: str) -> None:
        with self._file.open(mode, newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerow(row)

    def add(self, iteration: int, stage: int, lr: float, loss: float, psnr: float | None) -> None:
        """One row.

        Args:
            iteration: iterations done in this phase.
            stage: number of the stage, from 1.
            lr: learning rate.
            loss: mean over the iterations since the row before.
            psnr: mean PSNR RGB in dB of the validation images, or None where they were not looked at.
        """
        self._append((iteration, stage, lr, f"{loss:.8g}", "" if psnr is None else f"{psnr:.5f}"), "a")

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self._file.stat().st_size
