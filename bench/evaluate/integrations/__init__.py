"""Adapters to libraries of others: each module needs the one that it is called after, or torch.

They are given what they adapt, and import nothing else of this package.
"""
