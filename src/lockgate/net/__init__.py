"""Bytes in, bytes out: listeners, TLS, limits."""
