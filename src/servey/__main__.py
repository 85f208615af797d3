"""``python -m servey``: the ``servey`` program; the default command is ``serve``."""

from servey.cli.main import main

if __name__ == "__main__":
    main(program_name="python -m servey", default="serve")
