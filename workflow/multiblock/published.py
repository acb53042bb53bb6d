"""Weights as their authors publish them: which network they are, and how their names become ours.

A *form* is a way in which weights of one family are published. Its rules turn the authors' names into ours, one
regular expression a kind of layer; every name of the file must be met by a rule or be known to be unused, and every
parameter of the network must be given.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multiblock import zoo
from multiblock.chain import Chain
from multiblock.errors import UserError, listed
from multiblock.weights import read

Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern and our name. In that, ``\\1`` stands for the pattern's first group, and ``{1}`` for one less than its
number: authors count from 1 where we count from 0. A function serves where that is not enough.
"""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of a family's weights.

    Args:
        source: the repository whose code writes it.
        rules: pattern of the authors' name without its ``.weight``, ``.bias`` or the like, to our name.
        unused: pattern of names that are stored but never used, or belong to another scale (``{scale}`` stands for
            the scales that were not asked for).
        absent: pattern of our names that this form does not have, as they are zero.
        options: options that the network needs in order to compute what the authors' code does.
    """

    source: str
    rules: tuple[Rule, ...]
    unused: str = ""
    absent: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


_MEAN: tuple[Rule, ...] = ((r"sub_mean(?:\.shifter)?", "subtract_mean"), (r"add_mean(?:\.shifter)?", "add_mean"))
_LAPLACIAN: tuple[Rule, ...] = (
    (r"b(\d+)\.ca\.c([123])\.body\.0", "body.{1}.attention.squeeze.{2}"),
    (r"b(\d+)\.ca\.c4\.body\.0", "body.{1}.attention.excite"),
)


def _srresnet_body(block: str, names: tuple[str, ...]) -> tuple[Rule, ...]:
    """A residual block whose five layers are called ``names``."""
    ours = ("conv1", "norm1", "activation", "conv2", "norm2")
    return tuple((rf"{block}\.{name}", rf"body.\1.{our}") for name, our in zip(names, ours, strict=True))


_RCAN_BODY: tuple[Rule, ...] = (
    (r"body\.(\d+)\.body\.(\d+)\.body\.([02])", r"body.\1.\2.layers.\3"),
    (r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.0", r"body.\1.\2.layers.3.squeeze"),
    (r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.2", r"body.\1.\2.layers.3.excite"),
    (r"body\.(\d+)\.body\.(\d+)", r"body.\1.\2"),
    (r"body\.(\d+)", r"body.\1"),
    (r"(body(?:\.\d+)?(?:\.body)?\.\d+)\.snconv1x1_(theta|phi|g)", lambda m: f"{_inside(m[1])}.{m[2]}"),
    (r"(body(?:\.\d+)?(?:\.body)?\.\d+)\.snconv1x1_attn", lambda m: f"{_inside(m[1])}.out"),
)


def _inside(name: str) -> str:
    return name.replace(".body.", ".")


FORMS: Mapping[str, tuple[Form, ...]] = {
    "imdn": (
        Form(
            source="Zheng222/IMDN, IMDN",
            rules=(
                (r"fea_conv", "head"),
                (r"IMDB(\d+)\.c([1-4])", r"body.{1}.conv\2"),
                (r"IMDB(\d+)\.c5", "body.{1}.join"),
                (r"IMDB(\d+)\.cca\.conv_du\.0", "body.{1}.attention.squeeze"),
                (r"IMDB(\d+)\.cca\.conv_du\.2", "body.{1}.attention.excite"),
                (r"c\.0", "join.0"),
                (r"LR_conv", "join.2"),
                (r"upsampler\.0", "upsampler.0"),
            ),
        ),
        Form(
            source="Zheng222/IMDN, IMDN_RTC",
            rules=(
                (r"model\.0", "head"),
                (r"model\.1\.sub\.(\d+)\.c([1-4])", r"body.\1.conv\2"),
                (r"model\.1\.sub\.(\d+)\.c5", r"body.\1.join"),
                (r"model\.1\.sub\.\d+", "join.0"),
                (r"model\.2(?:\.0)?", "upsampler.0"),
            ),
        ),
    ),
    "pan": (
        Form(
            source="zhaohengyuan1/PAN",
            rules=(
                (r"conv_first", "head"),
                (r"SCPA_trunk\.(\d+)\.conv1_a", r"body.\1.project_plain"),
                (r"SCPA_trunk\.(\d+)\.conv1_b", r"body.\1.project_gated"),
                (r"SCPA_trunk\.(\d+)\.k1\.0", r"body.\1.plain"),
                (r"SCPA_trunk\.(\d+)\.PAConv\.k2", r"body.\1.gated.gate"),
                (r"SCPA_trunk\.(\d+)\.PAConv\.k3", r"body.\1.gated.conv1"),
                (r"SCPA_trunk\.(\d+)\.PAConv\.k4", r"body.\1.gated.conv2"),
                (r"SCPA_trunk\.(\d+)\.conv3", r"body.\1.join"),
                (r"trunk_conv", "closing"),
                (r"upconv(\d)", "upsampler.{1}.conv1"),
                (r"att(\d)\.conv", "upsampler.{1}.gate"),
                (r"HRconv(\d)", "upsampler.{1}.conv2"),
                (r"conv_last", "to_rgb"),
            ),
        ),
    ),
    "carn": (
        Form(
            source="nmhkahn/CARN-pytorch",
            rules=(
                *_MEAN,
                (r"entry", "entry.0"),
                (r"b(\d+)\.b(\d+)\.body\.0", "body.layers.{1}.layers.{2}.conv1"),
                (r"b(\d+)\.b(\d+)\.body\.2", "body.layers.{1}.layers.{2}.conv2"),
                (r"b(\d+)\.b1\.body\.4", "body.layers.{1}.layers.0.mix.1"),
                (r"b(\d+)\.c(\d+)\.body\.0", "body.layers.{1}.fusions.{2}"),
                (r"c(\d+)\.body\.0", "body.fusions.{1}"),
                (r"upsample\.up\d?\.body\.(\d)", r"upsampler.\1"),
                (r"exit", "exit"),
            ),
            # The authors train one network for all scales, with an upsampler for each.
            unused=r"upsample\.up{scale}\..*",
        ),
    ),
    "drln": (
        Form(
            source="saeed-anwar/DRLN",
            rules=(
                *_MEAN,
                (r"head", "head"),
                (r"b(\d+)\.r(\d)\.body\.0", "body.{1}.units.{2}.conv1"),
                (r"b(\d+)\.r(\d)\.body\.2", "body.{1}.units.{2}.conv2"),
                (r"b(\d+)\.g\.body\.0", "body.{1}.fuse"),
                *_LAPLACIAN,
                (r"c(\d+)\.body\.0", "fusions.{1}"),
                (r"upsample\.up\.body\.(\d)", r"upsampler.\1"),
                (r"tail", "to_rgb"),
            ),
            # The framework around it works on 0 to 255.
            options={"as_coded": True, "peak": 255},
        ),
    ),
    "drln_distilled": (
        Form(
            source="yating52997/SuperResolution",
            rules=(
                *_MEAN,
                (r"head", "head"),
                (r"b(\d+)\.r([012])\.body\.(\d)", r"body.{1}.distil.\2.0.\3"),
                (r"b(\d+)\.r3\.body\.(\d)", r"body.{1}.last.0.\2"),
                (r"b(\d+)\.g1\.body\.(\d)", r"body.{1}.join.0.\2"),
                *_LAPLACIAN,
                (r"c2\.body\.(\d)", r"first.0.\1"),
                (r"c(\d+)\.body\.(\d)", lambda m: f"fusions.{int(m[1]) - 3}.0.{m[2]}"),
                (r"upsample\.up\.body\.0", "upsampler.0"),
                (r"tail", "to_rgb"),
            ),
            unused=r"(?:c1|b\d+\.g)\.body\..*",
        ),
    ),
    "rcan": (
        Form(
            source="yulunzhang/RCAN; SA-RCAN with the same names",
            rules=(
                *_MEAN,
                (r"head\.0", "head"),
                *_RCAN_BODY,
                (r"tail\.0\.(\d)", r"upsampler.\1"),
                (r"tail\.1", "to_rgb"),
            ),
        ),
    ),
    "srresnet": (
        Form(
            source="Lornatang/SRGAN-PyTorch",
            rules=(
                (r"(?:conv1|conv_block1)\.0", "head"),
                (r"(?:conv1|conv_block1)\.1", "activation"),
                *_srresnet_body(r"trunk\.(\d+)\.rcb", ("0", "1", "2", "3", "4")),
                *_srresnet_body(r"trunk\.(\d+)", ("conv1", "bn1", "prelu", "conv2", "bn2")),
                (r"(?:conv2|conv_block2)\.0", "closing"),
                (r"(?:conv2|conv_block2)\.1", "norm"),
                (r"upsampling\.(\d)\.upsample_block\.([02])", lambda m: f"upsampler.{3 * int(m[1]) + int(m[2])}"),
                (r"(?:conv3|conv_block3)", "tail"),
            ),
            # Convolutions before a batch norm have no bias there.
            absent=r"(?:body\.\d+\.conv[12]|closing)\.bias",
        ),
        Form(
            source="sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution",
            rules=(
                (r"conv_block1\.conv_block\.0", "head"),
                (r"conv_block1\.conv_block\.1", "activation"),
                *_srresnet_body(
                    r"residual_blocks\.(\d+)",
                    tuple(f"conv_block{n}.conv_block.{k}" for n, k in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1))),
                ),
                (r"conv_block2\.conv_block\.0", "closing"),
                (r"conv_block2\.conv_block\.1", "norm"),
                (r"subpixel_convolutional_blocks\.(\d)\.conv", lambda m: f"upsampler.{3 * int(m[1])}"),
                (r"subpixel_convolutional_blocks\.(\d)\.prelu", lambda m: f"upsampler.{3 * int(m[1]) + 2}"),
                (r"conv_block3\.conv_block\.0", "tail"),
            ),
            options={"tanh": True},
        ),
    ),
}

_LAST = r"(?:\.(weight|bias|running_mean|running_var|num_batches_tracked|weight_orig|weight_u|weight_v))"
_SPECTRAL = {
    "weight_orig": "parametrizations.weight.original",
    "weight_u": "parametrizations.weight.0._u",
    "weight_v": "parametrizations.weight.0._v",
}
"""What PyTorch's older spectral norm calls what its newer one does."""


def import_weights(file: Path, network: str, options: Mapping[str, Any]) -> tuple[Chain, Form]:
    """The network called ``network`` in the zoo, with the published weights in ``file``, and their form.

    Args:
        options: options of the network beside those that its name stands for, such as ``scale``.

    Raises:
        UserError: no form of the network is known, the file cannot be read, or names or shapes are left over on
            either side.
    """
    family = zoo.find(network).family
    if family not in FORMS:
        raise UserError(f"{network}: no published form is known; known are those of {listed(FORMS)}")
    published = read(file)
    problems = []
    for form in FORMS[family]:
        spec = zoo.block(network, {**form.options, **options}, network)
        chain = Chain.build([spec], [True])
        problem = _load(chain, published, form, spec.scale)
        if problem is None:
            return chain.eval(), form
        problems.append((problem, form))
    # The form that comes closest is the one to tell of.
    (_, text), form = min(problems, key=lambda item: item[0][0])
    raise UserError(f"{file}: is no {network} x{spec.scale} as {form.source} publishes it: {text}")


def rename(name: str, form: Form, scale: int) -> str | None:
    """Our name for an authors' name; empty where it is known to be unused, None where no rule meets it."""
    others = "".join(str(other) for other in (2, 3, 4, 8) if other != scale)
    if form.unused and re.fullmatch(form.unused.replace("{scale}", f"[{others}]"), name):
        return ""
    if name.endswith(".sigma"):
        return f"{_inside(name.removesuffix('.sigma'))}.gamma"
    match = re.fullmatch(f"(.*?){_LAST}", name)
    if not match:
        return None
    for pattern, template in form.rules:
        if met := re.fullmatch(pattern, match[1]):
            return f"{_ours(met, template)}.{_SPECTRAL.get(match[2], match[2])}"
    return None


def _ours(met: re.Match[str], template: str | Callable[[re.Match[str]], str]) -> str:
    """Our name by a rule whose pattern has met the authors'."""
    if not isinstance(template, str):
        return template(met)
    return met.expand(re.sub(r"\{(\d)\}", lambda group: str(int(met[int(group[1])]) - 1), template))


def _load(chain: Chain, published: Mapping[str, Tensor], form: Form, scale: int) -> tuple[int, str] | None:
    """Load weights into a chain of one block; or how many names are wrong and what is wrong with the first of them."""
    wanted = chain.blocks["1"].state_dict()
    given: dict[str, Tensor] = {}
    strange = []
    for name, value in published.items():
        ours = rename(name, form, scale)
        if ours is None or (ours and (ours not in wanted or ours in given)):
            strange.append(name)
        elif ours:
            given[ours] = value
    for name, value in wanted.items():
        if name not in given and form.absent and re.fullmatch(form.absent, name):
            given[name] = torch.zeros_like(value)
    missing = [name for name in wanted if name not in given]
    if strange or missing:
        text = [f"it has {listed(strange[:3])}, which has no place here"] if strange else []
        text += [f"it has nothing for {listed(missing[:3])}"] if missing else []
        return len(strange + missing), f"{'; '.join(text)} ({len(strange)} and {len(missing)} in all)"
    shapes = [name for name in wanted if wanted[name].shape != given[name].shape]
    if shapes:
        first = shapes[0]
        return len(shapes), f"{first} is {tuple(given[first].shape)} there, and {tuple(wanted[first].shape)} here"
    chain.blocks["1"].load_state_dict(given)
    return None
