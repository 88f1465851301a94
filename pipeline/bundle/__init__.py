"""What a deploy bundle holds, one module per part."""
