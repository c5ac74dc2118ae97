"""Runs it: the local stack, the demo, the benchmarks."""
