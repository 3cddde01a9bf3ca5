"""Tests of linear algebra, transforms and sparse products."""
