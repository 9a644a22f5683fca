"""A page on this machine that shows requests travelling, and lets one break what they travel through."""
