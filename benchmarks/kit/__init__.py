"""What the benchmarks share: inputs, recipes, clocks, a watch on processes, the report."""
