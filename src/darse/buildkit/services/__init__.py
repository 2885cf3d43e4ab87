"""The services, thin: each method reads its request, asks the room, and answers."""
