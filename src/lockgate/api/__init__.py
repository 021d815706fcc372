"""What the office answers by HTTPS: one room for each set of routes, joined by `lockgate.office`."""
