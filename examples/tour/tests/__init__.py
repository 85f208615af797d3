import os

# The examples change parcels: they get temporary databases, never the one in TOUR_DATABASE.
os.environ.pop("TOUR_DATABASE", None)
