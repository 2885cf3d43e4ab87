"""Alerts without a stack of monitoring: rules over the engine's own metrics, and receivers of what they find."""
