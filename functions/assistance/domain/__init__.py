"""The rules of a request's life: frozen values and pure functions. Nothing here does I/O or reads a clock."""
