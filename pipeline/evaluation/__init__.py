"""How well a network does: backends that run it, accuracies with intervals, ties, and plots."""
