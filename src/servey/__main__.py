"""``python -m servey``: the ``servey`` program, which serves when it is told nothing else."""

from servey.cli.main import main

if __name__ == "__main__":
    main(program_name="python -m servey", default="serve")
