"""Long videos in segments: cut, run side by side, joined, cleaned up after."""
