"""The engine: from a volume and a model's plan to labels on the volume's own grid."""
