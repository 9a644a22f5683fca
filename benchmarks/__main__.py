"""Measures everything and writes it down: `make bench`."""

from benchmarks import cold_start, timing, warm

timing.write(
    "results.md",
    "# What it takes",
    f"Written by `make bench`. {timing.when_and_where()} Ratios are of what was measured side by side, in turns.",
    "## Cold start",
    cold_start.section(),
    "## Warm",
    warm.section(),
)
