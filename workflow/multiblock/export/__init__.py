"""Networks for other programs: ONNX files, model cards, the parameter names of the authors."""
