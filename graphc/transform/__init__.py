"""Transformations users ask for: gradients, vmap and so on. Graph in, graph out."""
