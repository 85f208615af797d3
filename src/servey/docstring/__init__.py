"""Read docstrings of actions and classes: prose, parameters, markup."""
