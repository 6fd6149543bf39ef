"""Training of networks on labelled CT and on synthetic CT made from label maps."""
