"""Recipes that make ONNX files of published checkpoints; they need the extra ``export``."""
