"""What detectors that read features share: exact sums, a sample of pixels, and the last layer as a matrix."""
