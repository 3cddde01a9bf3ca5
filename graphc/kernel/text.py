"""The loop IR as text, both ways: `parse_kernel(print_kernel(kernel)) == kernel` for every verified kernel."""

from graphc.kernel.parser import parse_kernel
from graphc.kernel.printer import print_expr, print_kernel, print_statements

__all__ = ["parse_kernel", "print_expr", "print_kernel", "print_statements"]
