"""Matrix products and convolutions in JAX, meant to give the same bits on every processor with AVX2."""
