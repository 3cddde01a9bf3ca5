"""What an array can do, on traced values and NumPy arrays alike: the functions behind the methods and operators of a
traced value. `graphc.numpy` documents them for users and adds the rest.
"""
