"""The networks of the face engines: one small class each over a loaded runner."""
