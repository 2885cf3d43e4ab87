"""Rows of the conformance tests."""
