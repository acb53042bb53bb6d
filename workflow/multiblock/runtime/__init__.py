"""What a machine gives: device, number format, compilation, CUDA graphs, memory."""
