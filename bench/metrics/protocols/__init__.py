"""One file per protocol, or per family of protocols. Drop a file in; nothing else changes."""
