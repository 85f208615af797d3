"""One service, written with each of the peers as its documentation recommends."""
