"""`make bench`: measures cold starts and warm invocations, and writes results.md."""

from benchmarks import cold_start, timing, warm

# First, since the events of cold starts import modules that read the environment.
warm_invocations = warm.section()
timing.write(
    "results.md",
    "# What it takes",
    f"Written by `make bench`. {timing.when_and_where()} Ratios compare programs that were measured alternately.",
    "## Cold start",
    cold_start.section(),
    "## Warm",
    warm_invocations,
)
