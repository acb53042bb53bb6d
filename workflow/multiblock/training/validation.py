"""Looks at the validation images: PSNR of a span on whole images, and of no network at all."""

import logging
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from multiblock.data.imageset import ImageSet
from multiblock.data.pixels import as_float
from multiblock.data.resize import enlarge
from multiblock.errors import UserError
from multiblock.inference import tiles
from multiblock.inference.metrics import psnr_rgb
from multiblock.model.chain import Chain
from multiblock.runtime.device import Device

log = logging.getLogger(__name__)


class Validation:
    """The validation images of a phase.

    Args:
        inputs, targets: what the span reads, and HR.
        lr: folder of LR_0, the input of the whole chain; None where it is not known.
        memory_gib: memory for the feature maps of an image.
    """

    def __init__(self, inputs: ImageSet, targets: ImageSet, lr: Path | None, memory_gib: float) -> None:
        self.inputs, self.targets = inputs, targets
        self._lr = lr
        self._memory_gib = memory_gib
        self._said = False

    def psnr(self, span: Chain, device: Device) -> float:
        """Mean PSNR RGB in dB of the span on whole images.

        Raises:
            UserError: an output is not finite.
        """
        training = [module for module in span.modules() if module.training]
        span.eval()
        try:
            outputs = (tiles.run(span, image, device.device, self._memory_gib) for image in self.inputs)
            return self._mean(outputs)
        finally:
            for module in training:  # one by one: frozen parts are never in training mode
                module.training = True

    def psnr_without_network(self) -> float | None:
        """The same of LR_0 itself, enlarged by bicubic interpolation where HR is larger; None where it is not known."""
        if self._lr is None:
            return None
        plain = ImageSet(self._lr / "validation.npy")
        scales = [high.height // low.height for low, high in zip(plain.entries, self.targets.entries, strict=True)]
        pairs = zip(plain, scales, strict=True)
        return self._mean(as_float(enlarge(image, scale) if scale > 1 else image) for image, scale in pairs)

    def _mean(self, outputs: Iterable[np.ndarray]) -> float:
        """The mean over the images; those that equal HR to the last bit have no finite PSNR and are left out."""
        finite: list[float] = []
        equal: list[str] = []
        for name, output, target in zip(self.targets.names, outputs, self.targets, strict=True):
            value = psnr_rgb(output, as_float(target))
            if math.isnan(value) or not np.isfinite(output).all():
                raise UserError(f"validation image {name}: what the network makes of it is not finite")
            if math.isinf(value):
                equal.append(name)
            else:
                finite.append(value)
        if equal and not self._said:
            log.warning("validation images equal to HR are left out of the mean: %s", ", ".join(equal))
            self._said = True
        return float(np.mean(finite)) if finite else math.inf
