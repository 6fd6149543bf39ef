"""What the Slicer module is made of: the MRML bridge, the session on a scene, the panel's sections."""
