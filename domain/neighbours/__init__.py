"""What the embedded image, network and identity services keep. Compute knows them by their ports only."""
