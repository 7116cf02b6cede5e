"""The wire layer by itself: octets in, values out, and back. No sockets, no clock."""
