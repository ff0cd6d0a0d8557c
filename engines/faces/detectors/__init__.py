"""What finds faces: SCRFD, YuNet, and the cascades of OpenCV as the last resort."""
