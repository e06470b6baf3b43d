"""The judge: whether synthetic images would help a folder of the user's own."""
