"""What synthetic images are worth where training images lack a combination, or where classes are rare."""
