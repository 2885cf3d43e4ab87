"""What a build comes to, where its client wants it.

images    the engine's store, and registries
archives  streams to the client: trees and images as archives
trees     a tree, file by file, into a directory of the client
"""
