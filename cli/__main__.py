"""The program `assistance`, which `python -m cli` runs, too."""

from cli.program import start


def main() -> None:
    """Run the command line."""
    start("cli.app")


if __name__ == "__main__":
    main()
