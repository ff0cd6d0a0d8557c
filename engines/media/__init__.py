"""Reading, probing and writing of pictures and videos."""
