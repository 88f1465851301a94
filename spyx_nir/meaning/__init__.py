"""What a NIR graph means: NumPy and the standard library only.

equations.py    one step of each kind of node
plan.py         a graph without nesting, checked, in the order in which a step runs through it
reference.py    the float64 interpreter
dialects.py     how other frameworks are known to read the same graph
source.py       the first three as one text, for programs that have NumPy alone
"""

from spyx_nir.meaning import dialects as dialects
from spyx_nir.meaning import equations as equations
from spyx_nir.meaning import plan as plan
from spyx_nir.meaning import reference as reference
