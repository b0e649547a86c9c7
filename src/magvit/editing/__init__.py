"""Beyond one clip: a user's own video of any length and size, with the unknown part made and put back into it."""
