"""The classes that plug-ins derive from, and what they are given. Plug-ins import them from ``bench.api``."""
