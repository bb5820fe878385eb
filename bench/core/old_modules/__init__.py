"""Modules under names that documents give them: ``bench.integrations``, and for one version ``bench.weights``."""
