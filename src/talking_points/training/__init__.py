"""Training: the base, the descriptor and the localizer, in one loop."""
