"""Networks that can be blocks, one folder a family; how they are found, described and built."""
