"""What a chip asks of a graph: profiles, fit, integer numbers and integer simulation.

profile.py     a chip's limits and grids, read from profiles/*.yaml: every number with its source
structure.py   a graph as populations of neurons and the weights between them
fit.py         does a graph fit a chip: violations, placement on cores, utilisation
grid.py        rounding to a chip's grid, in NumPy; and with straight-through gradients in JAX
quantise.py    a graph's weights, decays and thresholds as a chip's integers, and back to NIR
xylo.py  loihi.py  speck.py    one integer simulator per chip family, NumPy only
"""
