"""OMG-LLaVA's published weights: their names, their conversion into a checkpoint folder of ours, parity."""
