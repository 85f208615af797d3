"""What may be used again, and for how long: HTTP caching (RFC 9110, RFC 9111), and results that the server keeps."""
