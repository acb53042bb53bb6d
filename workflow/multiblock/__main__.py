"""``multiblock`` on the command line, and ``python -m multiblock``."""

import sys


def main() -> int:
    """Run the command; Ctrl-C ends it in one line, also while it is still being loaded."""
    try:
        from multiblock import cli

        return cli.main()
    except KeyboardInterrupt:
        print("multiblock: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
