"""The conformance pack: one tiny `.nir` file for every meaning that a reader of NIR can get wrong.

case.py              a case: graph, inputs, what it tests
neurons.py, layers.py, topologies.py    the cases
build.py             expected values by the reference, margins, the folder (make conformance)
run_conformance.py   the runner, which goes into the pack: one file, NumPy alone
"""
