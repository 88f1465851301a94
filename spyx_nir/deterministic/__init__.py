"""Matrix products and convolutions in JAX that give the same bits on every x86-64 processor with AVX2."""
