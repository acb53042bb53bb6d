"""What the authors' published weights hold: every name with its shape, in the order of their files.

Facts only, for tests of the importers. A network's function lists parameters and buffers as one state dict does. A
file may put a prefix before every name or nest the dict under a key: see `PREFIXES` and `NESTED`.
"""

from collections.abc import Callable, Iterable
from functools import partial

Shapes = dict[str, tuple[int, ...]]

PREFIXES = {"imdn_x2": "module.", "imdn_x3": "module.", "imdn_x4": "module."}
NESTED = {"srresnet_x4_lornatang": "state_dict"}


def _conv(name: str, inputs: int, outputs: int, kernel: int = 3, groups: int = 1, bias: bool = True) -> Shapes:
    """One convolution."""
    shapes: Shapes = {f"{name}.weight": (outputs, inputs // groups, kernel, kernel)}
    return shapes | ({f"{name}.bias": (outputs,)} if bias else {})


def _norm(name: str, channels: int) -> Shapes:
    """One batch normalisation with its running statistics."""
    shapes: Shapes = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def _prelu(name: str) -> Shapes:
    """One PReLU with a single slope."""
    return {f"{name}.weight": (1,)}


def _separable(name: str, inputs: int, outputs: int, kernel: int = 3) -> Shapes:
    """A depthwise convolution and the 1x1 one after it."""
    return _conv(f"{name}.body.0", inputs, inputs, kernel, inputs) | _conv(f"{name}.body.1", inputs, outputs, 1)


def _join(parts: Iterable[Shapes]) -> Shapes:
    """All parts one after another; a name may come only once."""
    shapes: Shapes = {}
    for part in parts:
        assert not shapes.keys() & part.keys()
        shapes |= part
    return shapes


def _shuffles(scale: int) -> list[int]:
    """The factors an upsampler takes one after another."""
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def imdn(scale: int, channels: int = 64, modules: int = 6) -> Shapes:
    """IMDN: Zheng222/IMDN, whose files put `module.` before every name."""
    mixed = channels // 4 * 4
    parts = [_conv("fea_conv", 3, channels)]
    for block in range(1, modules + 1):
        parts += _distillation(f"IMDB{block}", channels)
        parts.append(_conv(f"IMDB{block}.cca.conv_du.0", mixed, mixed // 16, 1))
        parts.append(_conv(f"IMDB{block}.cca.conv_du.2", mixed // 16, mixed, 1))
    parts += [_conv("c.0", modules * channels, channels, 1), _conv("LR_conv", channels, channels)]
    return _join([*parts, _conv("upsampler.0", channels, 3 * scale**2)])


def _distillation(name: str, channels: int) -> list[Shapes]:
    """The five convolutions of an information multi-distillation module."""
    kept, passed = channels // 4, channels - channels // 4
    return [
        _conv(f"{name}.c1", channels, channels),
        _conv(f"{name}.c2", passed, channels),
        _conv(f"{name}.c3", passed, channels),
        _conv(f"{name}.c4", passed, kept),
        _conv(f"{name}.c5", 4 * kept, channels, 1),
    ]


def imdn_rtc(scale: int, channels: int = 12, modules: int = 5) -> Shapes:
    """IMDN_RTC: Zheng222/IMDN."""
    parts = [_conv("model.0", 3, channels)]
    for block in range(modules):
        parts += _distillation(f"model.1.sub.{block}", channels)
    parts.append(_conv(f"model.1.sub.{modules}", channels, channels, 1))
    return _join([*parts, _conv("model.2", channels, 3 * scale**2)])


def pan(scale: int, channels: int = 40, width: int = 24, blocks: int = 16) -> Shapes:
    """PAN: zhaohengyuan1/PAN."""
    half = channels // 2
    parts = [_conv("conv_first", 3, channels)]
    for block in range(blocks):
        name = f"SCPA_trunk.{block}"
        parts += [_conv(f"{name}.conv1_{branch}", channels, half, 1, bias=False) for branch in "ab"]
        parts.append(_conv(f"{name}.k1.0", half, half, bias=False))
        parts.append(_conv(f"{name}.PAConv.k2", half, half, 1))
        parts += [_conv(f"{name}.PAConv.{part}", half, half, bias=False) for part in ("k3", "k4")]
        parts.append(_conv(f"{name}.conv3", 2 * half, channels, 1, bias=False))
    parts.append(_conv("trunk_conv", channels, channels))
    for stage in range(1, 3 if scale == 4 else 2):
        parts.append(_conv(f"upconv{stage}", channels if stage == 1 else width, width))
        parts += [_conv(f"att{stage}.conv", width, width, 1), _conv(f"HRconv{stage}", width, width)]
    return _join([*parts, _conv("conv_last", width, 3)])


def _shifts() -> list[Shapes]:
    """The two mean shifts that CARN and DRLN keep frozen."""
    return [_conv(f"{name}.shifter", 3, 3, 1) for name in ("sub_mean", "add_mean")]


def _fusions(name: str, channels: int, kernel: int, depths: Iterable[int]) -> list[Shapes]:
    """The fusing convolutions c1, c2, ... over so many concatenated maps each."""
    return [
        _conv(f"{name}c{number}.body.0", depth * channels, channels, kernel) for number, depth in enumerate(depths, 1)
    ]


def _shuffle_convs(name: str, channels: int, scale: int, groups: int = 1) -> list[Shapes]:
    """An upsampler of [3x3, ReLU, pixel shuffle] stages."""
    return [
        _conv(f"{name}.body.{3 * stage}", channels, factor**2 * channels, groups=groups)
        for stage, factor in enumerate(_shuffles(scale))
    ]


def carn(scale: int | None = None, mobile: bool = False, groups: int = 4) -> Shapes:
    """CARN and CARN-M: nmhkahn/CARN-pytorch; without a scale the published form, which has all of x2, x3 and x4."""
    parts = [*_shifts(), _conv("entry", 3, 64)]
    for block in ("b1", "b2", "b3"):
        if mobile:  # one residual unit, called three times
            parts += [_conv(f"{block}.b1.body.{layer}", 64, 64, groups=groups) for layer in (0, 2)]
            parts.append(_conv(f"{block}.b1.body.4", 64, 64, 1))
        else:
            parts += [_conv(f"{block}.{unit}.body.{layer}", 64, 64) for unit in ("b1", "b2", "b3") for layer in (0, 2)]
        parts += _fusions(f"{block}.", 64, 1, (2, 3, 4))
    parts += _fusions("", 64, 1, (2, 3, 4))
    for factor in (2, 3, 4) if scale is None else (scale,):
        name = f"upsample.up{factor}" if scale is None else "upsample.up"
        parts += _shuffle_convs(name, 64, factor, groups if mobile else 1)
    return _join([*parts, _conv("exit", 64, 3)])


def _laplacian(name: str, channels: int) -> list[Shapes]:
    """The Laplacian attention of DRLN."""
    hidden = channels // 16
    squeeze = [_conv(f"{name}.c{number}.body.0", channels, hidden) for number in (1, 2, 3)]
    return [*squeeze, _conv(f"{name}.c4.body.0", 3 * hidden, channels)]


def drln(scale: int, channels: int = 64, groups: tuple[int, ...] = (3, 3, 3, 3, 4, 4)) -> Shapes:
    """DRLN: saeed-anwar/DRLN."""
    parts = [*_shifts(), _conv("head", 3, channels)]
    for block in range(1, sum(groups) + 1):
        for unit, width in (("r1", channels), ("r2", 2 * channels), ("r3", 4 * channels)):
            parts += [_conv(f"b{block}.{unit}.body.{layer}", width, width) for layer in (0, 2)]
        parts.append(_conv(f"b{block}.g.body.0", 8 * channels, channels, 1))
        parts += _laplacian(f"b{block}.ca", channels)
    parts += _fusions("", channels, 3, (depth for size in groups for depth in range(2, size + 2)))
    parts += _shuffle_convs("upsample.up", channels, scale)
    return _join([*parts, _conv("tail", channels, 3)])


def drln_dw(channels: int = 36) -> Shapes:
    """The final x3 network of study 004: yating52997/SuperResolution; `drln_dw_dead` are never used in it."""
    kept, passed = channels // 4, channels - channels // 4
    parts = [*_shifts(), _conv("head", 3, channels)]
    for block in range(1, 9):
        parts.append(_separable(f"b{block}.r0", channels, channels))
        parts += [_separable(f"b{block}.{layer}", passed, channels) for layer in ("r1", "r2")]
        parts.append(_separable(f"b{block}.r3", passed, kept))
        parts.append(_separable(f"b{block}.g1", channels, channels, 1))
        parts.append(_separable(f"b{block}.g", 8 * channels, channels, 1))
        parts += _laplacian(f"b{block}.ca", channels)
    for number, depth in enumerate((1, 1, 2, 3, 2, 3, 2, 3), 1):
        parts.append(_separable(f"c{number}", depth * channels, channels))
    return _join([*parts, _conv("upsample.up.body.0", channels, 27), _conv("tail", 3, 3, 1)])


def drln_dw_dead() -> set[str]:
    """The names of `drln_dw` that its forward pass never touches."""
    layers = ["c1", *(f"b{block}.g" for block in range(1, 9))]
    return {f"{layer}.body.{part}.{kind}" for layer in layers for part in (0, 1) for kind in ("weight", "bias")}


def _channel_attention_block(name: str, channels: int, reduction: int = 16) -> list[Shapes]:
    """The residual channel-attention block of RCAN."""
    parts = [_conv(f"{name}.body.{layer}", channels, channels) for layer in (0, 2)]
    parts.append(_conv(f"{name}.body.3.conv_du.0", channels, channels // reduction, 1))
    return [*parts, _conv(f"{name}.body.3.conv_du.2", channels // reduction, channels, 1)]


def _spectral(name: str, inputs: int, outputs: int) -> Shapes:
    """A 1x1 convolution under the older spectral normalisation."""
    return {
        f"{name}.bias": (outputs,),
        f"{name}.weight_orig": (outputs, inputs, 1, 1),
        f"{name}.weight_u": (outputs,),
        f"{name}.weight_v": (inputs,),
    }


def _self_attention(name: str, channels: int, width: int = 4) -> list[Shapes]:
    """The self-attention layer of SA-RCAN."""
    return [
        {f"{name}.sigma": (1,)},
        _conv(f"{name}.snconv1x1_theta", channels, width, 1),
        _spectral(f"{name}.snconv1x1_phi", channels, width),
        _spectral(f"{name}.snconv1x1_g", channels, width),
        _spectral(f"{name}.snconv1x1_attn", width, channels),
    ]


def rcan(scale: int, groups: int = 10, blocks: int = 20, channels: int = 64, attention: str = "") -> Shapes:
    """RCAN: yulunzhang/RCAN; SA-RCAN: Dhruv-Sabharwal/Nvidia-Internship, attention after group "pairs" or "inside"."""
    parts = [_conv("sub_mean", 3, 3, 1), _conv("add_mean", 3, 3, 1), _conv("head.0", 3, channels)]
    place = 0
    for group in range(groups):
        for block in range(blocks):
            parts += _channel_attention_block(f"body.{place}.body.{block}", channels)
        if attention == "inside":
            parts += _self_attention(f"body.{place}.body.{blocks}", channels)
        last = blocks + (attention == "inside")
        parts.append(_conv(f"body.{place}.body.{last}", channels, channels))
        place += 1
        if attention == "pairs" and group % 2:
            parts += _self_attention(f"body.{place}", channels)
            place += 1
    parts.append(_conv(f"body.{place}", channels, channels))
    for stage, factor in enumerate(_shuffles(scale)):
        parts.append(_conv(f"tail.0.{2 * stage}", channels, factor**2 * channels))
    return _join([*parts, _conv("tail.1", channels, 3)])


def srresnet_sgrvinod(blocks: int = 16) -> Shapes:
    """SRResNet x4: sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution, which adds a tanh at the end."""
    parts = [_conv("conv_block1.conv_block.0", 3, 64, 9), _prelu("conv_block1.conv_block.1")]
    for block in range(blocks):
        first, second = (f"residual_blocks.{block}.conv_block{number}.conv_block" for number in (1, 2))
        parts += [_conv(f"{first}.0", 64, 64), _norm(f"{first}.1", 64), _prelu(f"{first}.2")]
        parts += [_conv(f"{second}.0", 64, 64), _norm(f"{second}.1", 64)]
    parts += [_conv("conv_block2.conv_block.0", 64, 64), _norm("conv_block2.conv_block.1", 64)]
    for stage in range(2):
        name = f"subpixel_convolutional_blocks.{stage}"
        parts += [_conv(f"{name}.conv", 64, 256), _prelu(f"{name}.prelu")]
    return _join([*parts, _conv("conv_block3.conv_block.0", 64, 3, 9)])


def srresnet_lornatang(blocks: int = 16) -> Shapes:
    """SRResNet x4: Lornatang/SRGAN-PyTorch, no biases before a norm; it clamps its output to [0, 1]."""
    parts = [_conv("conv1.0", 3, 64, 9), _prelu("conv1.1")]
    for block in range(blocks):
        name = f"trunk.{block}.rcb"
        parts += [_conv(f"{name}.0", 64, 64, bias=False), _norm(f"{name}.1", 64), _prelu(f"{name}.2")]
        parts += [_conv(f"{name}.3", 64, 64, bias=False), _norm(f"{name}.4", 64)]
    parts += [_conv("conv2.0", 64, 64, bias=False), _norm("conv2.1", 64)]
    for stage in range(2):
        parts += [
            _conv(f"upsampling.{stage}.upsample_block.0", 64, 256),
            _prelu(f"upsampling.{stage}.upsample_block.2"),
        ]
    return _join([*parts, _conv("conv3", 64, 3, 9)])


PUBLISHED: dict[str, Callable[[], Shapes]] = {
    **{f"imdn_x{scale}": partial(imdn, scale) for scale in (2, 3, 4)},
    **{f"imdn_rtc_x{scale}": partial(imdn_rtc, scale) for scale in (2, 3, 4)},
    **{f"pan_x{scale}": partial(pan, scale) for scale in (2, 3, 4)},
    "carn": carn,
    "carn_m": partial(carn, mobile=True),
    **{f"carn_x{scale}": partial(carn, scale) for scale in (2, 3, 4)},
    **{f"carn_m_x{scale}": partial(carn, scale, mobile=True) for scale in (2, 3, 4)},
    **{f"drln_x{scale}": partial(drln, scale) for scale in (2, 3, 4, 8)},
    "drln_dw_x3": drln_dw,
    **{f"rcan_x{scale}": partial(rcan, scale) for scale in (2, 3, 4, 8)},
    **{f"sa_rcan_pairs_x{scale}": partial(rcan, scale, groups=6, attention="pairs") for scale in (2, 3, 4)},
    **{f"sa_rcan_inside_x{scale}": partial(rcan, scale, groups=6, attention="inside") for scale in (2, 3, 4)},
    "srresnet_x4_sgrvinod": srresnet_sgrvinod,
    "srresnet_x4_lornatang": srresnet_lornatang,
}
