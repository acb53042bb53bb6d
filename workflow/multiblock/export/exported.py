"""A chain as other programs run it: pictures in, pictures out, with all that ``upscale`` does around the network.

Also how a file for them is tried before it is kept.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from multiblock.errors import UserError, listed
from multiblock.model.chain import Chain
from multiblock.networks.attention import SelfAttention

LEAST = 8
"""Smallest height and width in pixels that a file is for."""

SIZES = ((LEAST, 11), (45, 38))
"""Heights and widths at which a file is tried, other than the one that is traced."""

ALLOWED, _TIMES = 1e-4, 10
"""Most by which another program may differ from PyTorch, for pictures from 0 to 1; or so many times what PyTorch itself
differs by where it computes a picture alone and beside another one."""


class Exported(nn.Module):
    """A chain as a user runs it: LR is enlarged if the chain was trained so, and the result is cut to [0, 1].

    The chain is copied: in evaluation mode, in float32 on the CPU, with normalised weights worked out once.

    Args:
        enlarge: how many times LR is enlarged before it enters the chain.
    """

    def __init__(self, chain: Chain, enlarge: int) -> None:
        super().__init__()
        self.enlargement = Enlargement(enlarge) if enlarge > 1 else nn.Identity()
        self.chain = copy.deepcopy(chain).float().cpu().eval().requires_grad_(False)
        self.scale = enlarge * chain.scale
        for layer in self.chain.modules():
            if parametrize.is_parametrized(layer):
                for name in list(layer.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(layer, name)
            if callable(update := getattr(layer, "update_params", None)):  # of SPAN: anew each time it runs
                update()
                layer.update_params = lambda: None  # type: ignore[assignment]
        for layer in self.chain.modules():
            if type(layer) is SelfAttention:
                layer.__class__ = _AnySize
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), RGB in [0, 1], to (N, 3, scale*H, scale*W) in [0, 1]."""
        return self.chain(self.enlargement(x)).clamp(0, 1)


class _AnySize(SelfAttention):
    """The same layer without a question that depends on the size, which a graph for all sizes cannot ask."""

    def _pooled(self, x: Tensor) -> Tensor:
        side = int(getattr(self.pool, "kernel_size", 1))
        if side == 1:
            return x
        below, right = (-length % side for length in x.shape[2:])
        return self.pool(F.pad(x, (0, right, 0, below), mode="replicate"))


class Enlargement(nn.Module):
    """MATLAB's bicubic as :mod:`multiblock.data.resize` defines it: 8 bits in, 8 bits after each of the two passes.

    For 8-bit pictures the result is the same to the last bit: all sums are of whole numbers times weights that
    float32 holds exactly (x2, x4), or never come close to a half (x3).

    Args:
        factor: how many times to enlarge, 2, 3 or 4.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        centres = (torch.arange(factor, dtype=torch.float64) + 0.5) / factor - 0.5
        weights = _cubic(torch.arange(-2, 3) - centres[:, None])
        weights = (weights / weights.sum(1, keepdim=True)).float()
        # Of each colour a result for each new row, and of each of those one for each new column.
        self.register_buffer("rows", weights.repeat(3, 1)[:, None, :, None])
        self.register_buffer("columns", weights.repeat(3 * factor, 1)[:, None, None, :])

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, 3, factor*H, factor*W), of 256 steps; of at least 2 x 2 pixels."""
        tall = _whole(F.conv2d(_mirrored(_whole(x * 255), 2), self.rows, groups=3))
        both = _whole(F.conv2d(_mirrored(tall, 3), self.columns, groups=3 * self.factor))
        return F.pixel_shuffle(both, self.factor) / 255


def _mirrored(x: Tensor, axis: int) -> Tensor:
    """An image with two more pixels of its mirror image at each end of its rows (axis 2) or columns (3)."""

    def only(pixel: slice) -> Tensor:  # counted from the nearer edge, so that its size is seen without the image's
        return x[:, :, pixel] if axis == 2 else x[:, :, :, pixel]

    return torch.cat((only(slice(1, 2)), only(slice(0, 1)), x, only(slice(-1, None)), only(slice(-2, -1))), dim=axis)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5, which is zero beyond 2."""
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0))


def _whole(x: Tensor) -> Tensor:
    """Round to the nearest of 0 to 255, half up."""
    return torch.floor(x + 0.5).clamp(0, 255)


@dataclass(frozen=True)
class Written:
    """What was written for another program, and tried with it.

    Args:
        form: what the files are of, as ``ONNX opset 18``.
        size: bytes of all files.
        seconds: what tracing, converting and trying took.
        differences: by height and width, the largest difference from PyTorch.
        runtime: version of the other program.
    """

    form: str
    size: int
    seconds: float
    differences: Mapping[tuple[int, int], float]
    runtime: str


def check_packages(packages: Sequence[str], form: str, arguments: str) -> None:
    """Check that the packages for a form are installed.

    Args:
        arguments: what pip is given to install them.

    Raises:
        UserError: they are not; the message says how they are installed.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        raise UserError(
            f"{listed(missing)}: not installed, and needed for {form}; they come with pip install {arguments}"
        )


def differences(
    network: Exported, run: Callable[[Tensor], np.ndarray], title: str, program: str
) -> dict[tuple[int, int], float]:
    """The largest difference of another program from PyTorch, by height and width.

    Args:
        run: has the program make the results of pictures (N, 3, H, W) in [0, 1].
        title: the start of errors.
        program: how it is called there.

    Raises:
        UserError: it is too large.
    """
    found, allowed = {}, {}
    for height, width in SIZES:
        given = pictures(height, width)
        made = run(given)
        with torch.inference_mode():
            wanted = network(given).numpy()
            alone = torch.cat([network(picture[None]) for picture in given]).numpy()
        if made.shape != wanted.shape:
            raise UserError(f"{title}: not written, as {program} makes {made.shape} where it is {wanted.shape}")
        found[height, width] = float(np.abs(made.astype(np.float64) - wanted).max())
        allowed[height, width] = max(ALLOWED, _TIMES * float(np.abs(alone - wanted).max()))
    for (height, width), most in found.items():
        if not most <= allowed[height, width]:  # not a number is neither
            raise UserError(
                f"{title}: not written, as {program} differs from PyTorch by {most:.1e} at {height} x {width} "
                f"pixels; allowed is {allowed[height, width]:.0e}"
            )
    return found


def pictures(height: int, width: int) -> torch.Tensor:
    """Something like a photograph and a smooth picture, (2, 3, H, W) in [0, 1], the same each time.

    The first one is noise whose octaves are the weaker the finer they are. On noise of one pixel some networks are
    chaotic: PyTorch differs from itself there as much as one picture from another.
    """
    draw, like = torch.Generator().manual_seed(height * width), torch.zeros(1, 3, height, width)
    for octave in range(5):
        sides = [math.ceil(side / 2**octave) + 1 for side in (height, width)]
        noise = torch.rand((1, 3, *sides), generator=draw) - 0.5
        like = like + 2.0 ** (octave - 5) * F.interpolate(noise, (height, width), mode="bilinear")
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack(((like[0] + 0.5).clamp(0, 1), torch.stack((x, y, (1 + torch.sin(6 * (x + y))) / 2))))
