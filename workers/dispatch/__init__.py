"""The parts of the dispatcher: who goes next, how it reaches the broker, who may work."""
