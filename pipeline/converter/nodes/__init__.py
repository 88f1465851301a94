"""One kind of NIR node per file; `pipeline.converter.node` finds them."""
