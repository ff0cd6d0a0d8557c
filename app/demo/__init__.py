"""The main job on real input, end to end: what `pixelmeter demo` runs."""
