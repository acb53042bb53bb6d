"""Super-resolution networks trained in phases."""

__version__ = "0.1.0"
