"""Starts `assistance`, also as `python -m cli`."""

from cli.program import start


def main() -> None:
    """Run the command line."""
    start("cli.app")


if __name__ == "__main__":
    main()
