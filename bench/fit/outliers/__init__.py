"""Training networks on outliers: which images, which loss, and the loop over them."""
