"""TensorRT plans: built ahead of time or at the first need, kept by the content they depend on."""
