"""The services, thin: each method reads its request, calls `solving`, and answers."""
