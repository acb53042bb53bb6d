"""The histories of a run's phases as TensorBoard reads them, each written whole from its history.csv.

Curves that a training wrote by itself would fold back where it was interrupted; these cannot.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

TAGS = {
    "loss": "training/loss",
    "lr": "training/lr",
    "gradient_norm": "training/gradient_norm",
    "psnr_rgb_validation": "validation/psnr_rgb",
}
"""Columns of a history, and what TensorBoard calls them; PSNR in dB."""


def write(histories: Mapping[tuple[int, int], Path], out: Path) -> None:
    """Write a folder ``seed<k>/phase<p>`` of events for each phase into ``out``; steps are iterations of the phase.

    Nothing in a history says when a row was written: all have the time of the file.

    Args:
        histories: the history.csv of each (seed, phase).
    """
    from tensorboardX import SummaryWriter

    for (seed, phase), file in histories.items():
        table, time = pd.read_csv(file), file.stat().st_mtime
        with SummaryWriter(logdir=str(out / f"seed{seed}" / f"phase{phase}")) as writer:
            for column, tag in TAGS.items():
                for step, value in zip(table.iteration, table[column], strict=True) if column in table else ():
                    if pd.notna(value):
                        writer.add_scalar(tag, float(value), int(step), walltime=time)
