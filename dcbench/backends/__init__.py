"""How devices work together: one module a backend, each with a class `Backend` of the protocol in `_base`."""
