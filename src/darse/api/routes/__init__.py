"""The API's routes, one module per resource: parse, call one service method, render."""
