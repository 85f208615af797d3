"""Rate limits: how often each caller may call an action over a network, and their headers."""
