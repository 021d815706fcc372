"""The CoAP door: RFC 7252 over DTLS, and over plain UDP where that is asked for."""
