"""Operations on arrays of 10^6 elements, by family: one row per operation."""
