"""``python -m multiblock`` is ``multiblock``."""

import sys

from multiblock.cli import main

sys.exit(main())
