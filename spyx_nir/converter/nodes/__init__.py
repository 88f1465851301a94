"""One kind of NIR node per file; `spyx_nir.converter.registry` finds them."""
