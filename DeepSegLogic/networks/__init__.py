"""Network architectures that DeepSeg builds itself."""
