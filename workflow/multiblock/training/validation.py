"""The looks at the validation images: PSNR of a span on whole images, and of no network at all."""

import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from multiblock.data.imageset import ImageSet, as_float
from multiblock.data.resize import enlarge
from multiblock.errors import listed
from multiblock.inference import tiles
from multiblock.inference.metrics import means, psnr_rgb
from multiblock.model.chain import Chain
from multiblock.runtime.device import Device

log = logging.getLogger(__name__)


class Validation:
    """The validation images of a phase.

    Means leave out images whose LR_0 equals HR (a black frame): what a network makes of them has an infinite PSNR at
    one look and a finite one at the next, and would decide which look is best.

    Args:
        inputs, targets: what the span reads, and HR.
        lr: folder of LR_0, the input of the whole chain; None where it is not known.
        memory_gib: memory for the feature maps of an image.
    """

    def __init__(self, inputs: ImageSet, targets: ImageSet, lr: Path | None, memory_gib: float) -> None:
        self.inputs, self.targets = inputs, targets
        self._lr = lr
        self._memory_gib = memory_gib
        self._logged = self._logged_tiles = False

    def psnr(self, span: Chain, device: Device) -> float:
        """Mean PSNR RGB in dB of the span on whole images.

        Raises:
            UserError: an output is not finite.
        """
        training = [module for module in span.modules() if module.training]
        span.eval()
        try:
            tilings: dict[str, tiles.Tiling] = {}
            score = self._mean(self._measured(self._outputs(span, device, tilings)))
            if (line := tiles.summary(tilings)) and not self._logged_tiles:
                log.info("validation images %s", line)
                self._logged_tiles = True
            return score
        finally:
            for module in training:  # one by one: frozen parts are never in training mode
                module.training = True

    def _outputs(self, span: Chain, device: Device, tilings: dict[str, tiles.Tiling]) -> Iterator[np.ndarray]:
        for name, image in zip(self.inputs.names, self.inputs, strict=True):
            output, tilings[name] = tiles.infer(span, image, device.device, self._memory_gib)
            yield output

    def psnr_without_network(self) -> float | None:
        """Mean PSNR RGB in dB of LR_0 itself, enlarged by bicubic where HR is larger; None where it is not known."""
        return self._mean(self._plain) if self._plain else None

    @cached_property
    def _plain(self) -> dict[str, float]:
        """PSNR RGB of each image without any network; empty where LR_0 is not known."""
        if self._lr is None:
            return {}
        plain = ImageSet(self._lr / "validation.npy")
        scales = [high.height // low.height for low, high in zip(plain.entries, self.targets.entries, strict=True)]
        pairs = zip(plain, scales, strict=True)
        return self._measured(as_float(enlarge(image, scale) if scale > 1 else image) for image, scale in pairs)

    def _measured(self, outputs: Iterable[np.ndarray]) -> dict[str, float]:
        """PSNR RGB of each image.

        Raises:
            UserError: an output is not finite.
        """
        return {
            name: psnr_rgb(output, as_float(target), what=f"what is made of validation image {name}")
            for name, output, target in zip(self.targets.names, outputs, self.targets, strict=True)
        }

    def _mean(self, values: dict[str, float]) -> float:
        """The mean over the images for which both the values and those without network are finite."""
        (mean, *_), equal = means([values, *([self._plain] if self._plain else [])])
        if equal and not self._logged:
            log.warning("validation images that equal HR are left out of the mean: %s", listed(equal))
            self._logged = True
        return mean
