"""From a suite file to cells: the grammar, the expansion, the registry of plug-ins, and the readers of samples."""
