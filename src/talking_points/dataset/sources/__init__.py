"""Loaders of part-labelled photos; each gives `Scene`s."""
