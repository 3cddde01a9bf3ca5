"""The workloads of `benchmarks.problems` written for other systems, as their documentation would have it."""
