"""What the docstrings of actions and classes say: the prose, the parameters, the markup."""
