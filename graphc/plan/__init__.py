"""Memory planning and the Plan: the complete, backend-independent description of what will run and where every byte
lies.
"""
