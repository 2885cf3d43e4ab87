"""Tests of darse.networks."""
