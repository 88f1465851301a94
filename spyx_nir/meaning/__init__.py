"""What a NIR graph means: the equations of its nodes, and the float64 interpreter that follows them."""
