"""The parts of the console that only the local stack has: sending, faults, and received messages."""
