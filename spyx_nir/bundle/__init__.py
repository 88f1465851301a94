"""What a bundle needs: golden vectors, and programs that verify them with NumPy alone."""
