"""How far a walk over pictures is, and the time left: a bar in megapixels on a terminal, nothing elsewhere."""

import logging
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from multiblock.inference.upscale import megapixels
from multiblock.pace import can_draw

_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n:.1f} of {total:.1f} MP, {elapsed} so far, {remaining} left"


class PictureBar:
    """To be used with ``with``; :meth:`step` is told of megapixels, of which small and large pictures differ.

    Args:
        files: the pictures.
        what: what is done with them, as in "upscaling".
    """

    def __init__(self, files: Iterable[Path], what: str) -> None:
        self._files, self._what = files, what
        self._stack = ExitStack()

    def __enter__(self) -> "PictureBar":
        shown = can_draw()
        if shown:
            self._stack.enter_context(logging_redirect_tqdm([logging.getLogger("multiblock")]))
        self._bar = self._stack.enter_context(
            tqdm(
                total=sum(map(megapixels, self._files)) if shown else None,
                desc=self._what,
                bar_format=_FORMAT,
                smoothing=0,  # the mean of all so far: pictures follow one another in no order of their sizes
                leave=False,
                disable=not shown,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self, megapixels: float) -> None:
        """So much more is done."""
        self._bar.update(megapixels)

    def say(self, line: str) -> None:
        """A line on standard output, above the bar."""
        self._line(line, sys.stdout)

    def complain(self, line: str) -> None:
        """A line on standard error, above the bar."""
        self._line(f"multiblock: error: {line}", sys.stderr)

    def _line(self, line: str, stream: TextIO) -> None:
        if self._bar.disable:
            print(line, file=stream, flush=True)
        else:
            tqdm.write(line, file=stream)
