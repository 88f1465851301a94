"""From a trained spiking network to verified, hardware-ready .nir bundles."""
