"""The training history: one CSV row every few iterations, written as training goes."""

import csv
import io
from pathlib import Path

COLUMNS = ("iteration", "stage", "lr", "loss", "psnr_rgb_validation", "gradient_norm")


class History:
    """Append rows to ``file``; None keeps them in ``text`` alone.

    Args:
        text: what the history was at the checkpoint to go on from; whatever the file held goes. Empty begins anew.
    """

    def __init__(self, file: Path | None, text: str = "") -> None:
        self._file = file
        self.text = text or _line(COLUMNS)
        if file:
            file.write_text(self.text, encoding="utf-8")

    def add(self, iteration: int, stage: int, lr: float, loss: float, psnr: float | None, norm: float) -> None:
        """One row.

        Args:
            iteration: iterations done in this phase.
            stage: number of the stage, from 1.
            lr: learning rate.
            loss: mean over the iterations since the row before.
            psnr: mean PSNR RGB in dB of the validation images, or None where they were not looked at.
            norm: mean norm of the gradient over the iterations since the row before.
        """
        row = _line((iteration, stage, lr, f"{loss:.8g}", "" if psnr is None else f"{psnr:.5f}", f"{norm:.6g}"))
        self.text += row
        if self._file:
            with self._file.open("a", encoding="utf-8") as opened:
                opened.write(row)


def _line(row: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()
