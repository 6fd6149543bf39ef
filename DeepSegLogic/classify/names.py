"""What is told apart. The order of regions and modalities is that of the network's outputs."""

REGIONS = ("legs", "pelvis", "abdomen", "chest", "neck", "head")  # from below
MODALITIES = ("CT", "MR", "other")  # other: values that are no HU, noise, a phantom
FLIPS = ("upside_down", "front_to_back", "mirrored")  # reversed along S, A and R
