"""When a phase is below what no network at all gives on the validation images, and what may help."""

REMEDIES = "a lower learning rate, more iterations, a first stage without clamp or more training images may help"


def is_below(made: float | None, plain: float | None) -> bool:
    """Whether a PSNR is below that of the input itself, as far as both are known."""
    return made is not None and plain is not None and made < plain
