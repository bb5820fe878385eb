"""Score maps made elsewhere: files, frames, warnings and figures."""
