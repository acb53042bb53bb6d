"""Which code a result depends on, named by intent: digests of the modules whose arithmetic makes it.

Imports do not count: a helper that only words messages, finds files or draws bars changes no weights. So a module that
does count is named here, in one list a kind of result. What a digest sees of a module is its code without comments,
docstrings, layout, annotations, imports, log calls and the words of errors: rewording or moving retrains nothing.
"""

from functools import cache
from pathlib import Path

from multiblock import source
from multiblock.files import Digests
from multiblock.networks import registry

PACKAGE = Path(__file__).parent.parent

_SAYS = frozenset({"what", "wrong", "lengths"})
"""What an entry of a registry says of itself and of its options, and what it refuses, computes nothing."""

_NETWORK = ("model.chain:Chain.forward", "networks.layers", "networks.attention")
_INFERENCE = (*_NETWORK, "inference.tiles", "runtime.precision:full_precision", "data.imageset")
_TABLE = ("report.measured", "report.markdown", "inference.metrics:means")
_PAGE = (
    "page.charts",
    "page.facts",
    "page.found",
    "page.images",
    "page.maps",
    "page.pictures",
    "page.places",
    "page.plan_picture",
    "page.rendering",
    "page.viewer",
    "report.compute",
    "report.curves",
    "report.losses",
    "report.sentences",
    "report.statistics",
    "report.tables",
    "data.resize",
    *_TABLE,
)

PARTS: dict[str, tuple[str, ...]] = {
    "conversion": (
        "data.inspection",
        "data.images",
        "data.colour",
        "data.resize",
        "data.dataset:ImagePair",
        "data.imageset:Writer",
    ),
    "checks": ("data.leaks:look", "data.leaks:_edges", "data.leaks:_means", "data.pair_checks"),
    "enlargement": ("data.resize", "data.imageset:Writer"),
    "training": (
        *_NETWORK,
        "training.step",
        "runtime.precision:set_tf32",
        "training.losses:total",
        "training.objective",
        "training.vgg16",
        "training.optimisers:make",
        "training.optimisers:build",
        "training.optimisers:groups",
        "training.optimisers:filled",
        "training.schedules:factor",
        "training.schedules:_scheduled",
        "training.schedules:filled",
        "training.freezing",
        "training.start",
        "data.sampler",
    ),
    "validation": (*_INFERENCE, "inference.metrics:psnr_rgb", "inference.metrics:_psnr"),
    "generation": (*_INFERENCE, "inference.cache", "data.imageset:Writer"),
    "evaluation": (*_INFERENCE, "inference.evaluation", "inference.metrics", "data.resize"),
    "apart": (
        *_INFERENCE,
        "inference.evaluation",
        "inference.metrics",
        "data.resize",
    ),
    "upscaling": (
        *_INFERENCE,
        "inference.upscaling:Upscaler",
        "data.picture",
        "data.images",
        "data.colour",
        "data.resize",
    ),
    "by_block": ("report.blocks", "report.strips", *_TABLE),
    "table": ("report.tables", "inference.timing:seconds", *_TABLE),
    "figures": ("report.figures", "report.strips", "report.losses", *_TABLE),
    "comparison": (
        "report.comparison",
        "report.comparison_figures",
        "report.comparison_markdown",
        "report.compute",
        "report.curves",
        "report.differences",
        "report.sentences",
        "report.statistics",
        "report.figures:save",
        "report.tables",
        *_TABLE,
    ),
    "page": ("page.run", *_PAGE),
    "study_page": (
        "page.study",
        "report.comparison",
        "report.comparison_markdown",
        "report.differences",
        *_PAGE,
    ),
    "residuals": ("report.residuals", "report.strips", "inference.measures:gray", "data.resize"),
    "losses": ("report.losses", "report.figures"),
    "tensorboard": ("report.tensorboard",),
    "budget": ("report.budget", "model.complexity", *_TABLE),
}
"""Modules, or parts of modules (``module:Class.method``), by the kind of result that they make."""


TABLES = {
    "loss": "training.losses:LOSSES",
    "optimiser": "training.optimisers:OPTIMISERS",
    "schedule": "training.schedules:SCHEDULES",
    "start": "training.starts:STARTS",
    "degradation": "data.resize:DEGRADATIONS",
    "measure": "inference.measures:MEASURES",
}
"""The tables whose entries count one by one, where a result is made with them."""

ALSO = {
    ("loss", "ssim"): ("inference.metrics:ssim",),
    ("stage", "ema"): ("training.averaging",),
    ("stage", "warmup"): ("training.schedules:_warmed_up",),
    ("stage", "intermediate"): ("model.chain:Chain.outputs",),
}
"""What counts beside the entry of a table, or for a key of a stage, where a result is made with it."""


@cache
def of(part: str, *networks: str, entries: frozenset[tuple[str, str]] = frozenset()) -> str:
    """The digest of the code of a kind of result.

    Args:
        networks: families or files of the networks that take part in it.
        entries: what is used of the tables, as in ``("loss", "l1")``, and of a stage's keys, as in
            ``("stage", "ema")``.
    """
    digests = [_digest(name) for name in PARTS[part]] + [registry.digest(network) for network in sorted(set(networks))]
    for kind, name in sorted(entries):
        code = ((f"{TABLES[kind]}[{name}]",) if kind in TABLES else ()) + ALSO.get((kind, name), ())
        digests += [f"{kind} {name} {_digest(one)}" for one in code]
    return source.digest_of_text("\n".join(digests))


@cache
def of_files(*folders: str) -> str:
    """The digest of files in folders of the package that are no Python: all that is in them counts."""
    files = sorted(file for folder in folders for file in PACKAGE.joinpath(folder).iterdir() if file.is_file())
    return source.digest_of_text("\n".join(f"{file.name}\n{file.read_text(encoding='utf-8')}" for file in files))


_kept: Digests | None = None


def remember(digests: Digests | None) -> None:
    """Keep what is found out with the files' own digests: to read a module as code takes far longer than to look at it.

    Args:
        digests: None ends it.
    """
    global _kept
    _kept = digests


def _digest(name: str) -> str:
    """The digest of a module, or of a part of it; see :data:`PARTS`."""
    module, _, inside = name.partition(":")
    file = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    key = f"{inside} {_what_counts()}"
    known = dict(_kept.note(file)[1:]) if _kept else {}
    if key not in known:
        known[key] = source.digest_of_code(source.read(file), inside, _SAYS)
        if _kept:
            _kept.append(file, [key, known[key]])
    return known[key]


@cache
def _what_counts() -> str:
    """What decides which code counts."""
    return source.digest_of_text("\n".join((source.read(Path(source.__file__)), *sorted(_SAYS))))
