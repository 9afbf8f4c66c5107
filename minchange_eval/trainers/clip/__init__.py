"""CLIP with hard negatives: the losses, the loop, the vocabulary and the checkpoint folder.

Every module here except `vocabulary` loads torch, so import it inside the function that trains.
"""
