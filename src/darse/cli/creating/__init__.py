"""From the flags of `run` and `create` to the body of the API's create request."""
