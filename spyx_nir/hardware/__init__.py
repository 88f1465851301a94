"""What a chip asks of a graph: profiles, fit, integer numbers and integer simulation.

profile.py     a chip's limits and grids, read from profiles/*.yaml: every number with its source
structure.py   a graph as populations of neurons and the weights between them
fit.py         does a graph fit a chip: violations, placement on cores, utilisation
judge.py       the same, with the verdict that quantise and variant give
variant.py     a graph with the chip's reset and decays, as training on the grid takes it
grid.py        rounding to a chip's grid, in NumPy; weights in JAX too, with straight-through gradients
quantise.py    a graph's weights, decays and thresholds as a chip's integers, and back to NIR
network.py     what these integers are: populations and the weights between them
xylo.py  loihi.py  speck.py    one integer simulator per chip family, NumPy only
simulate.py    which of them, for how many steps; overflow
assess.py      accuracy on recordings, in integers and as floats, and how far both agree
in_jax/        the same rules in JAX, with gradients, one file per family
balance.py  tune.py    training on the grid: where it starts, how it goes
"""
