"""REST: a service as a Starlette application (`servey.servey_starlette.app.create_app`)."""
