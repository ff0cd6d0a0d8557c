"""What callers above the engines need to build plans: the flavours and this host's GPUs."""

from engines.runners.flavours import FlavourName, load_flavour
from engines.runners.host import nvidia_gpus

__all__ = ["FlavourName", "load_flavour", "nvidia_gpus"]
