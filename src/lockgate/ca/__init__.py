"""The certificate authority of a home: issues, records, revokes, publishes, rotates. The gate never imports it."""
