"""Flows over the pixels of a network: the published computation of FlowEneDet, and a coupling flow that is one."""
