"""What tests share: engines of their own, clients for them, and a look at what is left behind."""
