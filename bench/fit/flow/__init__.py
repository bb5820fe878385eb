"""Flows over the pixels of a network: the published computation of FlowEneDet, and a coupling flow that is one."""

NUMBERS = 1  # raised with every change that moves a score
