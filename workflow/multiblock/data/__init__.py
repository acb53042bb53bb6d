"""From image files to arrays on disk, and from those to training batches."""
