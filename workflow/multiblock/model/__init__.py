"""A chain of blocks as one network: its file, where finished ones are, weights from elsewhere, how large it is."""
