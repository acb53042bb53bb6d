"""The house: a folder imports only from those above it, and what has to start quickly does so without PyTorch."""

import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "workflow" / "multiblock"

HOUSE = (
    ("errors", "what a user is told"),
    ("pace", "how fast work goes, what is left of it, whether a bar may be drawn"),
    ("files", "files that are whole or not there, locks, digests"),
    ("plan", "what follows from a plan of spans"),
    ("versions", "a version number for the arithmetic of each kind of result"),
    ("networks", "families of networks, the zoo, descriptions of networks, parts they share"),
    ("data", "image files, pairing, checks, arrays, the sampler"),
    ("align", "pairs from two photographs"),
    ("model", "a chain and its file, finished weights, weights from elsewhere, counts"),
    ("runtime", "device, compilation, memory"),
    ("inference", "whole images, LR_k, PSNR and SSIM"),
    ("network", "trained networks for scripts and notebooks"),
    ("export", "networks for other programs"),
    ("training", "the trainer and what a stage is made of"),
    ("config", "keys, their checks, the study that follows from them"),
    ("report", "tables and figures"),
    ("page", "report pages: one HTML file each, with a viewer of pictures"),
    ("workflow", "what rules and scripts share"),
    ("cli", "the command, a file a subcommand"),
)
"""From what depends on nothing to what depends on most. A folder imports from itself and from those above it."""

APART = (("plan", "files"), ("data", "networks"), ("report", "training"), ("page", "training"))
"""Allowed by the order, yet kept apart: the first of each pair knows nothing of the second."""

QUICK = (
    "errors",
    "files",
    "plan",
    "versions",
    "networks.registry",
    "networks.zoo",
    "data.dataset",
    "data.inspection",
    "model.metadata",
    "page.pages",
    "page.viewer",
    "config",
    "config.explain",
    "config.minutes",
    "align.pairs",
    "workflow.status",
    "workflow.start",
    "cli",
)
"""Imported without PyTorch: Snakemake's start and ``multiblock plan`` stay quick."""

ORDER = {name: place for place, (name, _) in enumerate(HOUSE)}


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by module name; a folder's ``__init__`` has the folder's name."""
    found = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(module: str, file: Path, known: dict[str, Path]) -> set[str]:
    """The modules among ``known`` that a file imports, wherever in it, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])
            found |= {name if (name := f"{base}.{alias.name}") in known else base for alias in node.names}
    return found & known.keys()


def folder(module: str) -> str:
    """``multiblock.data.images`` is in ``data``; the package itself, which holds its version, is in none."""
    return module.split(".")[1] if "." in module else ""


def offences(package: Path) -> list[str]:
    """Every import that does not point upwards, as a line."""
    known, found = modules(package), []
    for module, file in sorted(known.items()):
        here = folder(module)
        if here in ("", "__main__"):
            continue
        for other in sorted(imports(module, file, known)):
            there = folder(other)
            if here not in ORDER or (there and there not in ORDER):
                found.append(f"{module} imports {other}: a folder that is not in the drawing")
            elif there and there != here and (ORDER[there] > ORDER[here] or (here, there) in APART):
                found.append(f"{module} imports {other}: {here} may not import from {there}")
    return found


def circle(package: Path) -> list[str]:
    """A circle of imports, if there is one: each module imports the next.

    The package itself counts for none: what it offers from below it imports when it is asked for.
    """
    known, state, way = modules(package), dict[str, str](), list[str]()

    def visit(module: str) -> list[str]:
        if state.get(module) == "open":
            return [*way[way.index(module) :], module]
        if module in state:
            return []
        state[module] = "open"
        way.append(module)
        for other in sorted(imports(module, known[module], known) - {module, package.name}):
            if found := visit(other):
                return found
        way.pop()
        state[module] = "done"
        return []

    return next((found for module in sorted(known) if (found := visit(module))), [])


def test_every_room_is_in_the_drawing_and_every_one_drawn_is_there():
    rooms = {folder(module) for module in modules(PACKAGE)} - {"", "__main__"}
    assert rooms == ORDER.keys()


def test_imports_point_one_way():
    assert offences(PACKAGE) == []


def test_there_is_no_circle():
    assert circle(PACKAGE) == []


def test_what_starts_quickly_does_not_import_torch():
    program = (
        "import importlib, sys\n"
        f"for module in {QUICK!r}:\n"
        "    importlib.import_module(f'multiblock.{module}')\n"
        "    found = {'torch', 'matplotlib', 'scipy.stats'} & sys.modules.keys()\n"
        "    assert not found, f'multiblock.{module} imports {found}'\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr.splitlines()[-1]


JOBS = """
import sys, numpy, torch
from multiblock.inference import metrics
from multiblock.runtime.device import make_deterministic
from multiblock.training.optimisers import OPTIMISERS, build
image = numpy.zeros((20, 20, 3), numpy.float32)
metrics.measure(image, image + 0.1, 2)
make_deterministic(False)
for name in OPTIMISERS:
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = build(name, [weight], 0.1, {})
    weight.sum().backward()
    optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
    optimiser.zero_grad()
sys.exit(", ".join({"torch._dynamo", "skimage", "scipy.ndimage"} & sys.modules.keys()) or 0)
"""


def test_jobs_import_neither_the_compiler_nor_what_measures_more_slowly():
    run = subprocess.run([sys.executable, "-c", JOBS], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_the_drawing_is_the_documents():
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    places = [next((i for i, line in enumerate(lines) if line.startswith(f"| `{name}`")), -1) for name in ORDER]
    assert -1 not in places and all(first < second for first, second in pairwise(places))
