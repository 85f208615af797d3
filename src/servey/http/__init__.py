"""HTTP without a framework: the scope of an ASGI request in, the messages of its answer out."""
