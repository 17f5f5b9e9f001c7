"""Pointing: how models of others are asked for points, and the benchmarks of others that ask for them."""
