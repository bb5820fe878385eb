"""``bench.integrations``, under which documents name the adapters that stand in ``bench.evaluate.integrations``."""
