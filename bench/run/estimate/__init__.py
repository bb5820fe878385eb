"""The costs of a suite before it runs: CPU seconds by stage, time with some processes, disk and memory.

Nothing here is guessed. What a stage costs comes from results of earlier runs or, for what none of them has, from a
probe: the suite itself on a few images of each data set, through the same code as ever. From few images to many:

* per image: reading, the network, scores, counting, score maps, second phases;
* per cell: merging, figures, the bootstrap, slices, bytes on disk. A part of these stays and a part grows, so they are
  taken from two sizes where two were measured: with the images, or, where what counts is how many keys of 24 bits
  occur, with those, which grow as a power of the images up to every key that there is.
"""
