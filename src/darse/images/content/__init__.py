"""The content store: blobs by digest (OCI image layout), ingests, manifests."""
