"""Mask2Former as detectron2 trains and stores it, computed by the package transformers."""
