"""Certificates: keys, names, thumbprints, and the authority that issues. Pure: no files, no sockets, no clock."""
