"""What a machine gives: device, number format, compilation, memory."""
