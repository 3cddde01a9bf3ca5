"""What a user holds after compiling: compiled functions, jitted functions and programs over one state."""
