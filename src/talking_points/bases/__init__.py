"""What the two roles, training and serving need of a base, and the bases that there are."""
