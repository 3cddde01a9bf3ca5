"""The bottom layer: dtypes, errors, source locations, configuration and pytrees. Imports only the standard library and
NumPy.
"""
