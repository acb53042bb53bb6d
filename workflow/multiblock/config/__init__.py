"""What a user configures: the keys, the files, the study that follows from them, the reference."""

from multiblock.config.reading import checked, read
from multiblock.config.study import Run, Study, load

__all__ = ["Run", "Study", "checked", "load", "read"]
