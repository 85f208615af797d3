"""Testing services: their examples as tests, and an in-process client."""
