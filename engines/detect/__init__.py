"""The detect engine: objects in pictures and videos as labelled boxes."""
