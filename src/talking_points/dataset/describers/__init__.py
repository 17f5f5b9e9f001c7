"""Who says what is seen: rules, a model behind an endpoint, or our own Point Descriptor."""
