"""The pixelmeter command line."""
