"""A draft of a report's findings by a local language model, checked against our own table. Research use only."""
