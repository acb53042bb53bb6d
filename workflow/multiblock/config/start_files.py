"""Whether the files of weights that phases start from fit: read from what the files say, before anything runs."""

import logging
from functools import cache
from pathlib import Path

from multiblock.config.explain import key
from multiblock.errors import UserError
from multiblock.model import metadata
from multiblock.plan import Plan, is_file, split_file

log = logging.getLogger(__name__)


def check(plan: Plan, enlarge: int, run: str) -> None:
    """Check each block of ``plan`` that starts from a file.

    Args:
        enlarge: how many times LR is enlarged before it enters the chain. Weights that were trained on another input
            can be trained on; where nothing is trained they would be wrong.
        run: name of the run, which an error names.

    Raises:
        UserError: a file cannot be read, has no such block, or one that is built otherwise.
    """
    for number in plan.numbers:
        phase, place = plan.phase(number), key("runs", run, "plan", number - 1, "start")
        if not is_file(phase.start):
            continue
        name, chosen = split_file(phase.start)
        try:
            known = metadata.read(Path(name))
            for block in phase.span:
                if not plan.owner(block, number - 1):
                    metadata.check_fit(known, chosen or block, plan.blocks[block - 1], Path(name))
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        theirs = known.about.enlarge if phase.first == (chosen or 1) == known.first == 1 else None
        if theirs not in (None, enlarge):
            text = f"{name} takes {_taken(theirs)}, and the run gives it {_taken(enlarge)}"
            if not any(stage.iterations for stage in phase.stages):
                raise UserError(f"{place}: {text}; without training, the input it was trained on is needed")
            _warn(f"{place}: {text}")


def _taken(enlarge: int | None) -> str:
    return "LR as it is" if enlarge == 1 else f"LR enlarged x{enlarge}"


@cache
def _warn(text: str) -> None:
    log.warning("%s", text)  # once
