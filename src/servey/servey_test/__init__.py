"""Test services: run their examples as tests, and send requests by an in-process client."""
