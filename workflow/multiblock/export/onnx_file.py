"""A chain as an ONNX file for pictures of any size, kept only if onnxruntime computes what PyTorch does."""

import contextlib
import io
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from multiblock.errors import UserError, listed
from multiblock.export import exported
from multiblock.export.exported import LEAST, Exported, Written
from multiblock.files import atomic_write
from multiblock.model.metadata import is_code

_EXAMPLE = (2, 3, 24, 32)  # one picture alone would be taken for the only number of pictures
_TRIED_SIZES = [
    (side, side + 1 + side % 7, 1 + side % 3) for side in (*range(LEAST, LEAST + 70), 127, 256, 1001, 2048, 6000)
]
_ALIKE = "its code does not take all sizes alike"
_ASKED_SIZES = (25, 64, 1001)
"""All three dimensions at once; what is so of these does not stop a trace."""
_SIDES = {"0": "the number of pictures", "2": "height", "3": "width"}

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What an ONNX file is written and checked with: the extra ``onnx``."""

OPSET = 18
"""The newest operators that are used, so that programs of 2023 read the file too."""

_LARGEST = 2**31 - 2**20


def check_packages() -> None:
    """Check that the packages are installed; the error says how they are."""
    exported.check_packages(PACKAGES, "ONNX files", '"multiblock[onnx]"')


def write(network: Exported, out: Path, about: Mapping[str, str], say: Callable[[str], None], title: str) -> Written:
    """Trace the network, convert it, try it with onnxruntime, and write the file if it computes the same.

    Args:
        about: metadata that onnxruntime shows as ``custom_metadata_map``.
        say: is called with a line before each step that takes long.
        title: one sentence on what the network is, and the start of errors.

    Raises:
        UserError: packages are missing, the network cannot be converted, or the file computes something else.
    """
    check_packages()
    if sum(tensor.nbytes for tensor in network.state_dict().values()) > _LARGEST:
        raise UserError(f"{title}: has more than 2 GB of weights, which one ONNX file cannot hold")
    begun = time.monotonic()
    with _quiet(), torch.no_grad():
        say(f"tracing {sum(1 for _ in network.modules())} layers; a large network takes minutes")
        graph = _traced(network, title)
        say(f"traced after {time.monotonic() - begun:.1f} s; converting")
        program = _converted(graph, network.scale, title)
    say(f"converted after {time.monotonic() - begun:.1f} s; comparing onnxruntime with PyTorch")
    model = program.model
    _clean(model)
    model.doc_string = title
    model.metadata_props.update(about)
    with atomic_write(out) as part:
        program.save(part)
        differences, runtime = _tried(part, network, title)
        size = part.stat().st_size
    return Written(f"ONNX opset {model.opset_imports['']}", size, time.monotonic() - begun, differences, runtime)


def _converted(traced: torch.export.ExportedProgram, scale: int, title: str) -> Any:
    """Convert a graph to ONNX with PyTorch's exporter."""
    try:
        program: Any = torch.onnx.export(
            traced,
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=_sizes(),
            verbose=False,
        )
    except Exception as error:  # an operator without counterpart, and whatever else the exporter leads to
        raise UserError(f"{title}: cannot be written as ONNX: {_reason(error)}") from error
    shape, times = program.model.graph.outputs[0].shape, f"{scale}*" if scale > 1 else ""
    shape[2], shape[3] = f"{times}height", f"{times}width"  # plainer than what is found for some networks
    return program


def _clean(model: Any) -> None:
    """Remove what the exporter notes of each layer: lines and paths of the code on this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()


def _tried(file: Path, network: Exported, title: str) -> tuple[dict[tuple[int, int], float], str]:
    """The largest difference from PyTorch by size, and the version of onnxruntime.

    Raises:
        UserError: it is too large, or the file cannot be run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        run = lambda pictures: session.run(None, {"input": pictures.numpy()})[0]  # noqa: E731
        return exported.differences(network, run, title, "onnxruntime"), onnxruntime.__version__
    except UserError:
        raise
    except Exception as error:  # onnxruntime has kinds of errors of its own
        raise UserError(f"{title}: not written, as onnxruntime cannot run it: {_reason(error)}") from error


def _sizes() -> tuple[dict[int, Any]]:
    """The axes that may differ from picture to picture."""
    names = {0: "batch", 2: "height", 3: "width"}
    return ({axis: torch.export.Dim(name, min=LEAST if axis else 1) for axis, name in names.items()},)


def _traced(network: Exported, title: str) -> torch.export.ExportedProgram:
    """Trace the network as one graph, and check that it is the graph for all sizes and not for some of them.

    Args:
        title: the start of errors.

    Raises:
        UserError: there is no one graph for its code; the message says why.
    """
    pictures = torch.rand(_EXAMPLE, generator=torch.Generator().manual_seed(0))
    stopped: list[str] = []
    try:
        with _noting_layers(network, stopped):
            program = torch.export.export(
                network, (pictures,), dynamic_shapes=_sizes(), prefer_deferred_runtime_asserts_over_guards=True
            )
    except Exception as error:  # whatever a network's code leads to
        layer = f", in layer {stopped[0]}" if stopped else ""
        raise UserError(f"{title}: cannot be written as ONNX: {_reason(error)}{layer}") from error
    own = any(is_code(spec.network) for spec in network.chain.specs)
    if broken := _condition(program, own):
        raise UserError(f"{title}: cannot be written as ONNX: {_ALIKE}; it asks whether {broken}")
    return program


@contextlib.contextmanager
def _noting_layers(network: Exported, stopped: list[str]) -> Iterator[None]:
    """Note the names of layers that stop a trace, the first one first.

    That is the layer in which an error is raised. If there is none, since the exporter finds only afterwards that the
    sizes of the example were taken for granted, it is the one that asked what is not so of all sizes.
    """
    inside: list[str] = []
    log_question = ShapeEnv._log_guard

    def noted(env: ShapeEnv, prefix: str, question: Any, forcing_spec: bool) -> None:
        sizes = (dict.fromkeys(question.free_symbols, side) for side in _ASKED_SIZES)
        if inside and not all(bool(question.subs(size)) for size in sizes):
            stopped.append(inside[-1])
        log_question(env, prefix, question, forcing_spec)

    handles = []
    for name, layer in network.named_modules():
        name = name.removeprefix("chain.blocks.")
        handles.append(layer.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        handles.append(layer.register_forward_hook(lambda *_: (inside.pop(), None)[1]))
    ShapeEnv._log_guard = noted  # type: ignore[method-assign, assignment]
    try:
        yield
    except Exception:
        stopped[:0] = inside[-1:]
        raise
    finally:
        ShapeEnv._log_guard = log_question  # type: ignore[method-assign]
        for handle in handles:
            handle.remove()


def _condition(program: torch.export.ExportedProgram, own: bool) -> str | None:
    """A question of the code on the size, whose answer is another at another size; None where there is none.

    That an answer is always the same is often more than PyTorch can prove, so sizes are tried.

    Args:
        own: whether there is code of a user's own. Only then count questions that PyTorch would put off to when the
            graph runs: among them are its own on the layout of maps in memory, which change no value.
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
            for height, width, count in _TRIED_SIZES:
                if not bool(question.subs(zip(symbols.values(), (count, height, width), strict=True))):
                    return str(question.subs([(symbol, type(symbol)(word)) for word, symbol in symbols.items()]))
    return None


def _reason(error: BaseException) -> str:
    """Why the exporter stopped, without the advice that it wraps that in."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"L\['\w+'\]\.size\(\)\[([023])\]", lambda met: _SIDES[met[1]], str(error))
    if asked := re.findall(r"satisfy the generated guard (.+?)\.?$", text, re.M):
        return f"{_ALIKE}; it asks whether {listed(asked[:2])}"
    if only := re.search(r"marked (\w+) as dynamic but your code specialized it to be a constant \((\d+)\)", text):
        return f"{_ALIKE}; it is for a {only[1]} of {only[2]}"
    if taken := re.search(r"Specializations unexpectedly required \((.+?)\)", text):
        return f"{_ALIKE}; it takes {taken[1].replace(', ', ' and ')} for those of one example"
    if asked := re.findall(r"Expected op to be '==', got \S+ for (.+)", text):
        return f"{_ALIKE}; it asks whether {asked[0]}"
    if "data-dependent" in text:
        return "its code asks what a picture shows before it goes on, and a graph is the same for all pictures"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what PyTorch remarks on packages and on parts of its own, but for errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # it prints graphs there too
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
