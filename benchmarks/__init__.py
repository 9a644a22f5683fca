"""What is measured, simulated and counted, and the pages it is written to."""
