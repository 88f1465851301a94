"""The same file in other frameworks: one adapter each, and what became of its spikes (make peers)."""
