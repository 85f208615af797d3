"""Reads the documentation as a user would: runs its commands, starts its servers, builds its container.

The conventions are in the docstring of tests/docs/test_blocks.py.
"""
