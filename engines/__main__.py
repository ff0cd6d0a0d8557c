"""``python -m engines``: engines on files of this machine, with no platform around them."""

from engines.command import main

if __name__ == "__main__":
    main(prog_name="python -m engines")
