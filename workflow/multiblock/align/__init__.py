"""Pairs from two photographs of one scene: LR is brought onto HR's pixels, and what does not fit is left out."""
