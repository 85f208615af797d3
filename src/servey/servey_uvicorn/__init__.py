"""Serve an ASGI application with uvicorn: reload, several workers, a stop that loses no request, an access log."""
