"""The loop IR: what a fused group of tensor operations becomes. Knows buffers and loops, no tensors."""
