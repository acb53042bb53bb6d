"""Ctrl-C ends Snakemake in one line, also where it does not look for it. Imports nothing, to be there early."""

import sys
from types import TracebackType

_state = {"said": False, "set": False}


def in_one_line() -> None:
    """From now on an end by Ctrl-C shows no traceback."""
    if _state["set"]:
        return
    _state["set"], before = True, sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            say()
        else:
            before(kind, error, trace)

    sys.excepthook = hook


def say() -> None:
    """Say, once, that a person has asked for this end."""
    if not _state["said"]:
        _state["said"] = True
        print("multiblock: stopped; the same command goes on", file=sys.stderr, flush=True)
