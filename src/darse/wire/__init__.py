"""The Docker Engine API's JSON as typed structs, apart from what the engine stores."""
