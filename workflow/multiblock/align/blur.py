"""By how much LR is blurred against HR."""

BLURS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Standard deviations that are tried, in LR pixels where those are the larger ones."""
