"""The tensor IR: types, nodes, text and parser, verifier, interpreter; `ops/` holds the primitives by family."""
