"""A chain of blocks as one network: its file, weights from elsewhere, how large it is."""
