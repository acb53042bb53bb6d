"""Whole images through a network, and how good they come out."""
