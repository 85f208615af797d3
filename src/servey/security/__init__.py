"""Who the caller is (`authorization`) and what callers may do (`access_control`)."""
