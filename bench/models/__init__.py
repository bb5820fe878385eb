"""One file per way to get logits."""
