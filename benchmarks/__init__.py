"""servey measured against hand-written ASGI, Starlette, Litestar and FastAPI; see docs/benchmarks.md."""
