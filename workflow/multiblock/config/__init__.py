"""What a user configures: the schema, the files, the study that follows from them, the reference."""

from multiblock.config.reading import read
from multiblock.config.schema import checked
from multiblock.config.study import Run, Study, load

__all__ = ["Run", "Study", "checked", "load", "read"]
