"""Face detection and alignment shared by engines that look at faces."""
