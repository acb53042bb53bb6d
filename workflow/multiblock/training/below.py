"""When a phase goes wrong: below what no network at all gives on the validation images, or beyond all numbers.

And what may help.
"""

from multiblock.plan import Stage

REMEDIES = (
    "a lower learning rate, clipped gradients, more iterations, a first stage without clamp or more training images "
    "may help"
)

_FAR = 6.0
"""In dB: the error is twice as large."""


def is_below(made: float | None, plain: float | None) -> bool:
    """Whether a PSNR is below that of the input itself, as far as both are known."""
    return made is not None and plain is not None and made < plain


def is_far_below(made: float, plain: float | None) -> bool:
    """Whether it is so by so much that many pixels are likely to lie outside 0 to 1."""
    return plain is not None and made < plain - _FAR


def against_jumps(stage: Stage, precision: str) -> str:
    """What may help where losses or gradients grow beyond all numbers; what the stage has already is left out."""
    remedies = [f"a learning rate below {stage.lr:g}"]
    remedies += ["clipped gradients"] if stage.clip is None else []
    remedies += ["a stage without clamp before this one"] if stage.clamp != "none" else []
    remedies += ["precision: float32"] if precision != "float32" else []
    return " or ".join(filter(None, (", ".join(remedies[:-1]), remedies[-1])))
