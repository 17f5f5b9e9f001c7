"""What people's label files say, read in one way for building datasets and for asking about points."""
