"""Layers of published networks, by the names of their checkpoints."""
