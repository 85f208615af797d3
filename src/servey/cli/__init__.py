"""The ``servey`` program; ``python -m servey`` is the same program."""
