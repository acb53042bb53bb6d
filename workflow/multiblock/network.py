"""Trained networks for scripts and notebooks: ``multiblock.load(...).upscale(image)``."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from multiblock.errors import UserError, listed, nearest
from multiblock.inference.upscaling import Kind, Upscaler, upscaled
from multiblock.model import chain as chains
from multiblock.model import finished
from multiblock.model.chain import Chain
from multiblock.model.finished import About
from multiblock.runtime.device import choose, full_precision

log = logging.getLogger(__name__)

MEMORY_GIB = 2.5
"""As ``inference.memory_gib`` has it where nobody says otherwise."""


class Network:
    """A trained network, ready to upscale; :func:`load` makes one.

    Args:
        chain: the network itself, in evaluation mode.
        about: which weights they are, and what there is to know of them.
        enlarge: how many times a picture is enlarged by MATLAB's bicubic before the network sees it.
        device: where the network runs.
        trust_code: Python files whose code may run, for other weights of the same run.
        part: number of the one block that it is; None for all that the file holds.
    """

    def __init__(
        self,
        chain: Chain,
        about: About,
        enlarge: int,
        device: torch.device,
        trust_code: tuple[Path, ...] = (),
        part: int | None = None,
    ) -> None:
        self.chain = chain.to(device)
        self.about = about
        self.enlarge = enlarge
        self.device = device
        self._trust_code = trust_code
        self._part = part

    @property
    def scale(self) -> int:
        """The factor by which a result is wider and higher than its picture."""
        return self.chain.scale * self.enlarge

    def upscale(self, image: Kind, *, ensemble: bool = False, memory_gib: float = MEMORY_GIB) -> Kind:
        """Upscale a picture to a result of the same kind of object.

        Args:
            image: a NumPy array (H, W, 3), or (H, W) for gray: uint8, uint16 with 65535 as white, or floats in [0, 1].
                Or a Pillow image; its alpha is enlarged by bicubic interpolation, and its ``info`` (colour profile,
                EXIF) goes with the result. Pixels are not turned: an orientation that EXIF notes still holds for the
                result. Or a PyTorch tensor (N, 3, H, W) of floats in [0, 1], on any device.
            ensemble: the mean of what the network makes of the picture in its eight turns and mirrorings, brought
                back; eight times as slow.
            memory_gib: memory for feature maps, in GiB; what needs more is done in overlapping tiles, which is logged.
                Picture, result and weights come on top.

        Returns:
            ``scale`` times as wide and as high, of the same type and on the same device, cut to [0, 1].

        Raises:
            UserError: the image is of another kind, shape or type, empty, or holds values beyond [0, 1], or NaN; or
                memory does not hold a small tile.
        """
        return upscaled(self.upscaler(ensemble=ensemble, memory_gib=memory_gib), image)

    def upscaler(self, *, ensemble: bool = False, memory_gib: float = MEMORY_GIB) -> Upscaler:
        """The network with what :meth:`upscale` takes settled, as the functions for files want it."""
        if not 0.05 <= memory_gib < float("inf"):
            raise UserError(f"memory_gib: found {memory_gib}; allowed are 0.05 or more")
        return Upscaler(
            chain=self.chain, device=self.device, enlarge=self.enlarge, memory_gib=memory_gib, ensemble=ensemble
        )

    def after(self, phase: int) -> "Network":
        """The network as it was after another phase of the same run and seed: all blocks trained by then.

        Raises:
            UserError: the weights are not in a run's folder, or that phase is not finished.
        """
        there = finished.phases_of(self.about.file)
        if phase not in there:
            if not there:
                raise UserError(f"{self.about.file}: is in no run's folder; after() needs one, as results/default")
            folder = self.about.file.parent.parent
            raise UserError(f"{folder}: found no finished phase {phase}; allowed are {listed(there)}")
        return _load(there[phase], self.device, self._trust_code, None)

    def block(self, number: int) -> "Network":
        """Block ``number`` alone, as staged training has it; its weights are shared with this network.

        It takes what the blocks before it make of a picture (LR_1 for block 2), at that size and not enlarged again;
        block 1 takes the picture, as the whole network does. What it makes is cut to [0, 1]. So
        ``net.block(2).upscale(net.block(1).upscale(x))`` is what a network of two blocks makes of a tensor ``x`` where
        block 1 is cut in the network, too (``net.chain.clamped``); where it is not, a warning says so.

        Raises:
            UserError: there is no such block.
        """
        first = self.chain.first
        numbers = range(first, first + len(self.chain.specs))
        if number not in numbers:
            raise UserError(f"block: found {number}; {self.about.file} holds blocks {listed(numbers)}")
        enlarge = self.enlarge if number == first else 1
        taken = self.about.input if number == first else f"LR_{number - 1}, what the blocks before it make"
        about = replace(self.about, input=taken, psnr=None, psnr_input=None, psnr_convention=None)
        part = self.chain.part(number, number).eval()
        if number != numbers[-1] and not part.clamped[0]:
            log.warning(
                "%s: block %d alone is cut to [0, 1], and in the network it is not; block by block it makes another "
                "picture",
                self.about.file,
                number,
            )
        return Network(part, about, enlarge, self.device, self._trust_code, number)

    def __repr__(self) -> str:
        names = [spec.network for spec in self.chain.specs]
        blocks = f"block {self._part}, {names[0]}" if self._part else f"{len(names)} blocks: {' > '.join(names)}"
        taken = f" from {self.about.input}" if self.about.input else ""
        return f"<multiblock.Network x{self.scale}{taken} ({blocks}) on {self.device}; {self.about}>"


def load(
    path: str | Path,
    device: str | torch.device = "auto",
    trust_code: Iterable[str | Path] = (),
    enlarge: int | None = None,
) -> Network:
    """Load a trained network.

    Args:
        path: a file of weights, or a folder: of a run, as ``results/default`` (the last phase of its first seed), of a
            seed (its last phase), or of a phase.
        device: ``auto`` takes a GPU where there is one; or ``cpu``, ``cuda``, ``cuda:1``.
        trust_code: Python files that may run: blocks of one's own that the weights name.
        enlarge: how many times pictures are enlarged by bicubic first; needed for files of older versions, which do
            not say.

    Raises:
        UserError: there are no such weights, they cannot be read, the run is not finished, or the device is not there.
    """
    file = finished.find(Path(path))
    return _load(file, _device(device), tuple(Path(one) for one in trust_code), enlarge)


def _load(file: Path, device: torch.device, trust_code: tuple[Path, ...], enlarge: int | None) -> Network:
    if enlarge not in (None, 1, 2, 3, 4):
        raise UserError(f"enlarge: found {enlarge}; allowed are 1, 2, 3, 4")
    with full_precision():  # in float32, whatever dtype is the caller's default
        chain = chains.load(file, trust_code)
    return Network(chain, finished.about(file), chain.enlargement(file, enlarge), device, trust_code)


def _device(device: str | torch.device) -> torch.device:
    if str(device) in ("auto", "cpu", "cuda"):
        with full_precision():  # the caller's own settings of precision stay
            return choose(str(device), "float32", gpus=1, threads=torch.get_num_threads()).device
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        hint = nearest(str(device), ("auto", "cpu", "cuda"))
        reason = str(error).splitlines()[0]
        raise UserError(f"device: found {device}; allowed are auto, cpu, cuda, cuda:0, ...{hint} ({reason})") from None
    return found
