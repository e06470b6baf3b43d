"""SEGA-Net's helpers, in rooms that import only downward; each room's door says what notebooks use of it.

report       what is shown; computes no number
studies      questions asked of the method, one a file
evaluation   what a trained classifier is worth
training     how a classifier comes to be, and the attacks it may meet
augmenters   where synthetic images come from
text         words and CLIP; beside it filters: scores of images, and the mask of those worth keeping
data         what an image is, and where real ones come from
core         files, seeds, records, loops
"""
