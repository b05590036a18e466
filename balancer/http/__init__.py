"""HTTP/1.1 as bytes: heads, message framing, headers, rendering. No sockets."""
