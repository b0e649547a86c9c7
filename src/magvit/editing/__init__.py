"""Beyond one clip: any length, any size, and back into files."""
