"""What the scripts train on: pictures, holes, entities and mattes, from folders, annotations or shards."""
