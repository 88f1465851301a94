"""What a chip asks of a graph: profiles, constraint checks, integer networks and their simulation.

facts.py  profile.py   a chip's limits and number formats, read from profiles/*.yaml, with sources
family.py  registry.py the record of a chip family, and the table that finds those in families/
families/<family>/     integer simulator in NumPy, its step in JAX, bring-up text, placement
topology.py            a graph with its plan; the same as populations and the weights between them
constraints.py         does a graph fit a chip: violations, placement on cores, utilisation (findings.py)
judge.py               the same, with the verdict that quantise and constrain give
constrain.py           a graph with the chip's reset and decays, as fine-tuning takes it
grid.py  rounding.py   rounding to a chip's numbers; a graph's numbers as a chip's integers
quantise.py            the same with the check before it, back to NIR, and read again
network.py             integer networks: populations and the weights between them
simulate.py            integer networks on recordings; delays, overflow
evaluate.py  costs.py  accuracy on recordings, in integers and as floats, and what it costs
qat.py                 integer networks in JAX, with gradients (straight_through.py)
threshold_balancing.py thresholds from which fine-tuning starts
"""
