"""Measurements and a simulation, and the pages with their results."""
