"""The rules by which a request's state changes: frozen values and pure functions, without I/O and without a clock."""
