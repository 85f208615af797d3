import os

# The examples change parcels: they get databases of their own, never the one that you keep.
os.environ.pop("TOUR_DATABASE", None)
