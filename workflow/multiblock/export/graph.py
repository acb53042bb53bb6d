"""A network as one graph for pictures of all sizes, or why it is none."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from multiblock.errors import UserError, listed
from multiblock.export.running import Exported
from multiblock.model.metadata import is_code

LEAST = 8
"""Smallest height and width in pixels that a graph is for."""

_EXAMPLE = (2, 3, 24, 32)  # one picture alone would be taken for the only number of pictures
_TOLD = [(side, side + 1 + side % 7, 1 + side % 3) for side in (*range(LEAST, LEAST + 70), 127, 256, 1001, 2048, 6000)]
_ALIKE = "its code does not take all sizes alike"
_SIDES = {"0": "the number of pictures", "2": "height", "3": "width"}


def sizes() -> tuple[dict[int, Any]]:
    """What may differ from picture to picture."""
    names = {0: "batch", 2: "height", 3: "width"}
    return ({axis: torch.export.Dim(name, min=LEAST if axis else 1) for axis, name in names.items()},)


def traced(network: Exported, title: str) -> torch.export.ExportedProgram:
    """The network as one graph, which is seen to be that of all sizes and not of some of them.

    Args:
        title: the start of errors.

    Raises:
        UserError: its code has no one graph; the message says why.
    """
    pictures = torch.rand(_EXAMPLE, generator=torch.Generator().manual_seed(0))
    try:
        program = torch.export.export(
            network, (pictures,), dynamic_shapes=sizes(), prefer_deferred_runtime_asserts_over_guards=True
        )
    except Exception as error:  # whatever a network's code leads to
        raise UserError(f"{title}: cannot be written as ONNX: {reason(error)}") from error
    own = any(is_code(spec.network) for spec in network.chain.specs)
    if broken := _condition(program, own):
        raise UserError(f"{title}: cannot be written as ONNX: {_ALIKE}; it asks whether {broken}")
    return program


def _condition(program: torch.export.ExportedProgram, own: bool) -> str | None:
    """A question of the code on the size, whose answer is another at another size; None where there is no such one.

    That an answer is always the same is often more than PyTorch can prove, so sizes are tried.

    Args:
        own: whether there is code of a user's own. Only then count questions that PyTorch would put off to when the
            graph runs: among them are its own on how maps lie in memory, which change no value.
    """
    given = program.graph_signature.user_inputs[0]
    node = next(node for node in program.graph.nodes if node.name == given)
    sides = {word: node.meta["val"].shape[int(axis)] for axis, word in _SIDES.items()}
    if fixed := [f"{word} is {side}" for word, side in sides.items() if isinstance(side, int)]:
        return listed(fixed)
    symbols = {word: side.node.expr for word, side in sides.items()}
    known = next(iter(sides.values())).node.shape_env
    put_off = [one for several in known.deferred_runtime_asserts.values() for one in several]
    asked = [*known.guards, *(put_off if own else [])]
    for question in dict.fromkeys(one.expr for one in asked):
        if question.free_symbols <= set(symbols.values()):
            for height, width, count in _TOLD:
                if not bool(question.subs(zip(symbols.values(), (count, height, width), strict=True))):
                    return str(question.subs([(symbol, type(symbol)(word)) for word, symbol in symbols.items()]))
    return None


def reason(error: BaseException) -> str:
    """What stopped the exporter, of the causes that it wraps in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"L\['\w+'\]\.size\(\)\[([023])\]", lambda met: _SIDES[met[1]], str(error))
    if asked := re.findall(r"satisfy the generated guard (.+?)\.?$", text, re.M):
        return f"{_ALIKE}; it asks whether {listed(asked[:2])}"
    if only := re.search(r"marked (\w+) as dynamic but your code specialized it to be a constant \((\d+)\)", text):
        return f"{_ALIKE}; it is for a {only[1]} of {only[2]}"
    if "data-dependent" in text:
        return "its code asks what a picture shows before it goes on, and a graph is the same for all pictures"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what PyTorch remarks on packages and on parts of its own; its errors come through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # it prints graphs there too
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
