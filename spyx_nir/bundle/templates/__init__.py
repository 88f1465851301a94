"""Programs that a bundle carries: verify.py, verify_integers.py, and the code of BRINGUP.md."""
