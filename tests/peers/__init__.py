"""Every primitive against other libraries: NumPy and SciPy, and JAX and PyTorch where they are installed.

`numpy_rows`, `jax_rows` and `torch_rows` say which functions of a library mean what a primitive means; `exceptions`
says where a library has none, or means something else. `rows.run` evaluates whole graphs in a library's functions, so
that what holds graphs (calls, loops, branches) has a row too, and so that a library differentiates what it computes.
"""
