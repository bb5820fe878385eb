"""Modules under the names that documents of version 0.1 gave them, for one version: ``bench.weights``."""
