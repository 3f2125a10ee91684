"""Vectors obtained by running the published code, and the comparison with ours."""
