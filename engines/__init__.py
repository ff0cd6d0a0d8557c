"""What touches pixels: engines, their models, runners and media code."""
