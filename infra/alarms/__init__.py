"""The alarms, by the part of the system that they watch."""
