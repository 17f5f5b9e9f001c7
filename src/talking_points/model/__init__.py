"""The network, one file a part, in the order data flows. Knows nothing of datasets or training."""
