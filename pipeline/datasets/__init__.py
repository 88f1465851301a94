"""Recordings: simulated, from a folder or downloaded, and always read through tonic."""
