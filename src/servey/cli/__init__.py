"""The ``servey`` program, which ``python -m servey`` is too."""
