"""Data sets on this machine: what they hold, and what is made of them."""
