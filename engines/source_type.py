"""What a result is, in the words of IPTC's Digital Source Type."""

from enum import StrEnum


class SourceType(StrEnum):
    """The terms that an engine may mark its results with; see ``engines/README.md``."""

    EDITED = "compositeWithTrainedAlgorithmicMedia"  # parts of it were made by a trained network
    GENERATED = "trainedAlgorithmicMedia"  # all of it was
    ALTERED = "algorithmicallyEnhanced"  # corrected or drawn on by an algorithm
