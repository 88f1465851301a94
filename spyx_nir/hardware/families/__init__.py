"""One folder per chip family; `spyx_nir.hardware.registry` finds their records, called `FAMILY`."""
