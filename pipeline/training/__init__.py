"""Training: the engine that runs a network, the loop, augmentation, and weights on disk."""
