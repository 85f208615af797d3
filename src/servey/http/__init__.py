"""HTTP without a framework: takes the scope of an ASGI request and sends the messages of its answer."""
