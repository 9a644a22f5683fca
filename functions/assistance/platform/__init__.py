"""Access to AWS, Lambda and the network, for all functions."""
